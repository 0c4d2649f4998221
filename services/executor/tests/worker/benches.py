"""A whole worker at work, and what the recorder would get from it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from kasal_bus import Batch, Bus
from kasal_bus.topology import EVENTS, EXECUTIONS, SIGNALS
from kasal_contracts.executions import Snapshot, Status
from kasal_contracts.messages import AttemptEvents, AttemptOutcome, CancelAsked, ExecutionJob
from kasal_db import Database, open_database
from kasal_executor.service import NAME
from kasal_executor.tables import Execution
from kasal_executor.worker.service import Worker, open_worker
from pydantic import SecretStr
from sqlalchemy import update

from .desks import Desks, open_desks
from .orders import order, row_of

LIMIT_S = 30


@dataclass
class Told:
    """The messages about one execution, in the order of their arrival."""

    messages: list[AttemptEvents] = field(default_factory=list)

    @property
    def types(self) -> list[str]:
        return [event.type for message in self.messages for event in message.events]

    @property
    def outcome(self) -> AttemptOutcome | None:
        return self.messages[-1].outcome if self.messages else None


@dataclass
class Bench:
    worker: Worker
    desks: Desks
    database: Database
    bus: Bus
    told: dict[str, Told] = field(default_factory=dict)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def start(self, made: Snapshot, **limits: Any) -> ExecutionJob:
        job = await order(self.database, made, **limits)
        await self.bus.send(EXECUTIONS, job)
        return job

    async def run(self, made: Snapshot, **limits: Any) -> tuple[Told, AttemptOutcome]:
        return await self.end(await self.start(made, **limits))

    async def end(self, job: ExecutionJob) -> tuple[Told, AttemptOutcome]:
        told = await self.until(job, lambda told: told.outcome is not None)
        assert told.outcome is not None
        return told, told.outcome

    async def until(self, job: ExecutionJob, fact: Callable[[Told], bool]) -> Told:
        async with asyncio.timeout(LIMIT_S), self.news:
            await self.news.wait_for(lambda: fact(self.told.get(job.execution_id, Told())))
        return self.told.get(job.execution_id, Told())

    async def cancel(self, job: ExecutionJob) -> None:
        asked = CancelAsked(execution_id=job.execution_id, attempt=job.attempt)
        await self.bus.publish(SIGNALS, job.execution_id, asked)

    async def status_of(self, job: ExecutionJob) -> Status:
        return (await row_of(self.database, job.execution_id)).status

    async def change(self, job: ExecutionJob, **values: object) -> None:
        async with self.database.system() as session:
            await session.execute(update(Execution).where(Execution.id == job.execution_id).values(**values))

    async def note(self, batch: Batch) -> None:
        """Stands in for the recorder."""
        for message in batch:
            assert isinstance(message, AttemptEvents)
            if message.outcome is not None:
                job = ExecutionJob(execution_id=message.execution_id, attempt=message.attempt, group_id="")
                await self.change(job, status=message.outcome.status)
            async with self.news:
                self.told.setdefault(message.execution_id, Told()).messages.append(message)
                self.news.notify_all()


@asynccontextmanager
async def open_bench(folder: Path, url: str, bus: Bus, **settings: object) -> AsyncIterator[Bench]:
    chosen = {"database_url": SecretStr(url), "slots": 3, "spares": 2, "beat": timedelta(seconds=1), **settings}
    async with AsyncExitStack() as stack:
        desks = await stack.enter_async_context(open_desks(folder, bus, **chosen))
        database = await stack.enter_async_context(open_database(url, NAME))
        worker = await stack.enter_async_context(open_worker(desks.settings, desks.host))
        bench = Bench(worker, desks, database, bus)
        for shard in EVENTS:
            await stack.enter_async_context(bus.consume(shard, bench.note, batch=50))
        async with asyncio.timeout(60):
            await worker.wait_ready()
        yield bench
