"""Offers due executions to the workers: as many as there are free slots, the most urgent first."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from kasal_bus import Bus, BusUnavailableError
from kasal_bus.topology import EXECUTIONS
from kasal_contracts.executions import Priority, Status
from kasal_contracts.messages import ExecutionJob
from kasal_db import Database, db_now
from sqlalchemy import ColumnElement, and_, case, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from kasal_executor.tables import Execution, Worker

WORKER_SILENCE = timedelta(seconds=10)
NO_WORKER = "no worker is running"
NO_SLOT = "all slots are busy"

WAITING = Execution.status.in_((Status.QUEUED, Status.RETRYING))
URGENCY = case({priority: rank for rank, priority in enumerate(Priority)}, value=Execution.priority)


@dataclass(frozen=True)
class Capacity:
    """`free` slots of live workers that no offer is out for."""

    workers: int
    free: int

    @property
    def reason(self) -> str:
        return NO_SLOT if self.workers else NO_WORKER


class Dispatcher:
    """Claims are idempotent, so an offer that was made twice, or too often, costs nothing but a message."""

    def __init__(self, database: Database, bus: Bus, republish: timedelta) -> None:
        self._database = database
        self._bus = bus
        self._republish = republish

    async def dispatch(self) -> None:
        """One look. Raises DatabaseUnavailableError and BusUnavailableError; what was not offered stays due."""
        async with self._database.system(read_only=True) as session:
            capacity = await self._capacity(session)
            due = await self._due(session, capacity.free + 1)
        offered = due[: capacity.free]
        failure = await self._offer(offered) if offered else None
        if len(due) > capacity.free:
            await self._explain(capacity.reason)
        if failure:
            raise failure

    def _is_out(self) -> ColumnElement[bool]:
        """Whether the execution was offered a moment ago."""
        return func.coalesce(Execution.published_at > db_now(-self._republish), False)

    async def _capacity(self, session: AsyncSession) -> Capacity:
        held = func.count(Execution.id)
        unclaimed = select(func.count()).where(WAITING, self._is_out()).scalar_subquery()
        live = (
            select(Worker.slots, held, unclaimed)
            .outerjoin(Execution, and_(Execution.worker_id == Worker.id, Execution.status == Status.RUNNING))
            .where(Worker.beat_at > db_now(-WORKER_SILENCE), Worker.draining.is_(False))
            .group_by(Worker.id, Worker.slots)
        )
        rows = (await session.execute(live)).all()
        free = sum(max(slots - running, 0) for slots, running, _ in rows)
        return Capacity(workers=len(rows), free=max(free - rows[0][2], 0) if rows else 0)

    async def _due(self, session: AsyncSession, limit: int) -> Sequence[ExecutionJob]:
        rows = await session.execute(
            select(Execution.id, Execution.attempt, Execution.group_id, Execution.traceparent)
            .where(WAITING, Execution.available_at <= db_now(), ~self._is_out())
            .order_by(URGENCY, Execution.queued_at, Execution.id)
            .limit(limit)
        )
        return [
            ExecutionJob(execution_id=id_, attempt=attempt, group_id=group_id, traceparent=traceparent)
            for id_, attempt, group_id, traceparent in rows
        ]

    async def _offer(self, jobs: Sequence[ExecutionJob]) -> BusUnavailableError | None:
        sent = await asyncio.gather(*(self._send(job) for job in jobs))
        failures = [answer for answer in sent if answer is not None]
        await self._mark([job for job, answer in zip(jobs, sent, strict=True) if answer is None])
        return failures[0] if failures else None

    async def _send(self, job: ExecutionJob) -> BusUnavailableError | None:
        try:
            await self._bus.send(EXECUTIONS, job)
        except BusUnavailableError as error:
            return error
        return None

    async def _mark(self, jobs: Collection[ExecutionJob]) -> None:
        if not jobs:
            return
        offered = tuple_(Execution.id, Execution.attempt).in_([(job.execution_id, job.attempt) for job in jobs])
        async with self._database.system() as session:
            await session.execute(
                update(Execution)
                .where(offered, WAITING)
                .values(published_at=db_now(), queue_reason=None)
                .execution_options(synchronize_session=False)
            )

    async def _explain(self, reason: str) -> None:
        untold = Execution.queue_reason.is_distinct_from(reason)
        async with self._database.system() as session:
            await session.execute(
                update(Execution)
                .where(WAITING, Execution.available_at <= db_now(), ~self._is_out(), untold)
                .values(queue_reason=reason, revision=Execution.revision + 1)
                .execution_options(synchronize_session=False)
            )
