"""Offers to workers, and who makes them."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

from kasal_bus import Batch, Bus
from kasal_bus.topology import EXECUTIONS
from kasal_contracts.executions import Status
from kasal_contracts.messages import ExecutionJob
from kasal_db import db_now, open_database
from kasal_db.migrations import migrate
from kasal_executor.control.leader import Leadership
from kasal_executor.service import NAME, SERVICE
from kasal_executor.tables import Execution, ExecutorTable, Worker
from sqlalchemy import update

from .conftest import NewBus
from .stage import Stage, open_control_plane, succeeded

URL = "/api/v1/execution"


class Offers:
    """What a worker would be offered, in order."""

    def __init__(self, stage: Stage | None) -> None:
        self.ids: list[str] = []
        self._stage = stage
        self._came = asyncio.Condition()

    async def take(self, batch: Batch) -> None:
        new = [job.execution_id for job in batch if isinstance(job, ExecutionJob)]
        if self._stage:
            await asyncio.gather(*(self._stage.claim(id_) for id_ in new))
        async with self._came:
            self.ids += new
            self._came.notify_all()

    async def wait_for(self, *ids: str, times: int = 1) -> None:
        async with asyncio.timeout(10), self._came:
            await self._came.wait_for(lambda: all(self.ids.count(id_) >= times for id_ in ids))


@asynccontextmanager
async def offers_of(bus: Bus, *, claimed_on: Stage | None = None) -> AsyncGenerator[Offers]:
    """Hears every offer, and claims it where that is wanted."""
    offers = Offers(claimed_on)
    async with bus.consume(EXECUTIONS, offers.take):
        yield offers


async def reason_of(stage: Stage, execution_id: str, reason: str | None) -> Any:
    """What a client is told of why it waits, once that is `reason`."""
    async with asyncio.timeout(10):
        while (told := (await stage.get(f"{URL}/{execution_id}"))["queue_reason"]) != reason:
            pass
    return told


async def test_a_queued_execution_is_offered_at_once(stage: Stage) -> None:
    await stage.add_worker(slots=1)
    async with offers_of(stage.bus) as offers:
        execution_id = await stage.submit()
        await offers.wait_for(execution_id)

    assert await stage.claim(execution_id)


async def test_without_a_worker_it_says_so_and_offers_nothing(stage: Stage) -> None:
    execution_id = await stage.submit()

    assert await reason_of(stage, execution_id, "no worker is running") == "no worker is running"
    assert (await stage.row(execution_id)).published_at is None


async def test_no_more_is_offered_than_there_are_free_slots(stage: Stage) -> None:
    await stage.add_worker(slots=2)
    await stage.add_worker(slots=9, draining=True, worker_id="worker-2")
    async with offers_of(stage.bus) as offers:
        first, second, third = [await stage.submit() for _ in range(3)]
        await offers.wait_for(first, second)
        await stage.claim(first)
        await stage.claim(second)
        reason = await reason_of(stage, third, "all slots are busy")
        assert third not in offers.ids

        await stage.report(first, outcome=succeeded(0))
        await offers.wait_for(third)

    assert reason == "all slots are busy"
    assert await reason_of(stage, third, None) is None


async def test_the_most_urgent_goes_first_then_the_oldest(stage: Stage) -> None:
    low, normal, older, newer = [
        await stage.submit(priority=priority) for priority in ("low", "normal", "high", "high")
    ]
    async with offers_of(stage.bus) as offers:
        for worker, wanted in enumerate((older, newer, normal, low)):
            await stage.add_worker(slots=1, worker_id=f"worker-{worker}")
            await offers.wait_for(wanted)
            await stage.claim(wanted, worker_id=f"worker-{worker}")

    ours = [id_ for id_ in offers.ids if id_ in {low, normal, older, newer}]
    assert list(dict.fromkeys(ours)) == [older, newer, normal, low]


async def test_an_offer_that_nobody_takes_is_made_again(stage: Stage) -> None:
    await stage.add_worker(slots=1)
    async with offers_of(stage.bus) as offers:
        execution_id = await stage.submit()
        await offers.wait_for(execution_id, times=2)

    assert await stage.claim(execution_id)


async def test_a_back_off_is_waited_for(stage: Stage) -> None:
    await stage.add_worker(slots=5)
    async with offers_of(stage.bus) as offers:
        later = await stage.submit()
        await offers.wait_for(later)
        async with stage.database.system() as session:
            await session.execute(
                update(Execution)
                .where(Execution.id == later)
                .values(status=Status.RETRYING, available_at=db_now(timedelta(hours=1)), published_at=None)
            )
        offers.ids.clear()
        now = await stage.submit()
        await offers.wait_for(now, times=2)

    assert later not in offers.ids


async def test_a_silent_worker_counts_for_nothing(stage: Stage) -> None:
    await stage.add_worker(slots=5)
    async with stage.database.system() as session:
        await session.execute(update(Worker).values(beat_at=db_now(timedelta(seconds=-11))))
    execution_id = await stage.submit()

    assert await reason_of(stage, execution_id, "no worker is running") == "no worker is running"


async def test_of_three_control_planes_one_dispatches(stage: Stage, new_bus: NewBus) -> None:
    await stage.add_worker(slots=100)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            bus = await stack.enter_async_context(new_bus())
            await stack.enter_async_context(open_control_plane(stage.settings, bus))
        offers = await stack.enter_async_context(offers_of(stage.bus, claimed_on=stage))
        ids = [await stage.submit() for _ in range(20)]
        await offers.wait_for(*ids)

    assert Counter(id_ for id_ in offers.ids if id_ in ids) == Counter(ids)


async def test_exactly_one_of_many_leads_until_it_releases(database_url: str) -> None:
    assert SERVICE.versions is not None
    await migrate(database_url, NAME, SERVICE.versions, ExecutorTable.metadata)
    async with open_database(database_url, NAME) as database:
        candidates = [Leadership(database, timedelta(minutes=1)) for _ in range(5)]
        held = await asyncio.gather(*(each.hold() for each in candidates))
        await candidates[held.index(True)].release()
        follower = Leadership(database, timedelta(minutes=1))

        assert sum(held) == 1
        assert await follower.hold()
