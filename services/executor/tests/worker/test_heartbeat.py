"""Leases: renewed while the worker lives, lost when it hangs, and what the database says reaches the attempts."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from time import monotonic

from kasal_bus import Bus
from kasal_contracts.executions import Status
from kasal_db import Database, db_now
from kasal_executor.tables import Execution, Worker
from kasal_executor.worker.claims import claim
from kasal_executor.worker.heartbeat import Heartbeat, Pulse
from kasal_executor.worker.holdings import Hold, Holdings, StopReason
from pydantic import SecretStr
from sqlalchemy import select, update

from .orders import model, order, row_of, snapshot

LIMIT_S = 10
LEASE = timedelta(seconds=2)
BEAT = timedelta(milliseconds=100)


@asynccontextmanager
async def beating(url: str, holdings: Holdings, worker_id: str) -> AsyncIterator[Heartbeat]:
    heartbeat = Heartbeat(Pulse(worker_id, SecretStr(url), LEASE, BEAT), holdings)
    async with heartbeat.beating():
        yield heartbeat


async def held(database: Database, bus: Bus, holdings: Holdings, worker_id: str) -> Hold:
    job = await order(database, snapshot(model()))
    claimed = await claim(database, bus, job, worker_id, LEASE)
    assert claimed is not None
    return holdings.take(claimed, monotonic() + LEASE.total_seconds())


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not fact():
            await asyncio.wait([asyncio.create_task(_turn())])


async def _turn() -> None:
    await asyncio.to_thread(time.monotonic)


async def test_a_held_lease_is_renewed_and_the_worker_is_on_the_list(
    database: Database, bus: Bus, migrated_url: str
) -> None:
    holdings = Holdings(3)
    hold = await held(database, bus, holdings, "w-renew")
    before = hold.lease_ends
    first = (await row_of(database, hold.claim.execution_id)).lease_until
    async with beating(migrated_url, holdings, "w-renew"):
        await until(lambda: hold.lease_ends > before + 0.3)
        async with database.system(read_only=True) as session:
            worker = await session.get_one(Worker, "w-renew")
        assert (worker.slots, worker.running, worker.draining) == (3, 1, False)

    second = (await row_of(database, hold.claim.execution_id)).lease_until
    assert first is not None
    assert second is not None
    assert second > first
    async with database.system(read_only=True) as session:
        assert await session.scalar(select(Worker.id).where(Worker.id == "w-renew")) is None


async def test_a_wish_to_cancel_is_found_without_any_signal(database: Database, bus: Bus, migrated_url: str) -> None:
    holdings = Holdings(1)
    hold = await held(database, bus, holdings, "w-cancel")
    async with beating(migrated_url, holdings, "w-cancel"):
        await _change(database, hold, cancel_asked_at=db_now())
        async with asyncio.timeout(LIMIT_S):
            await hold.stopping.wait()

    assert hold.reason == StopReason.CANCEL


async def test_an_attempt_that_went_to_somebody_else_is_stopped(
    database: Database, bus: Bus, migrated_url: str
) -> None:
    holdings = Holdings(1)
    hold = await held(database, bus, holdings, "w-lost")
    async with beating(migrated_url, holdings, "w-lost"):
        await _change(database, hold, status=Status.QUEUED, attempt=2, worker_id=None)
        async with asyncio.timeout(LIMIT_S):
            await hold.lost.wait()

    assert hold.reason == StopReason.LEASE_LOST


async def test_an_ended_attempt_is_held_until_its_end_is_recorded(
    database: Database, bus: Bus, migrated_url: str
) -> None:
    holdings = Holdings(1)
    hold = await held(database, bus, holdings, "w-ended")
    holdings.end(hold)
    assert holdings.is_open()
    async with beating(migrated_url, holdings, "w-ended"):
        before = hold.lease_ends
        await until(lambda: hold.lease_ends > before)
        assert holdings.find(hold.claim.key) is hold
        await _change(database, hold, status=Status.SUCCEEDED)
        await until(lambda: holdings.find(hold.claim.key) is None)

    assert not hold.lost.is_set()


async def test_a_worker_that_hangs_loses_its_children_before_their_leases_end(
    database: Database, bus: Bus, migrated_url: str
) -> None:
    holdings = Holdings(1)
    hold = await held(database, bus, holdings, "w-hangs")
    killed_at: list[float] = []
    hold.kill = lambda: killed_at.append(monotonic())
    async with beating(migrated_url, holdings, "w-hangs"):
        before = hold.lease_ends
        await until(lambda: hold.lease_ends > before)
        time.sleep(LEASE.total_seconds() * 1.5)  # noqa: ASYNC251 - this is the hanging loop
        lease_ended = hold.lease_ends
        async with asyncio.timeout(LIMIT_S):
            await hold.lost.wait()

    assert len(killed_at) >= 1
    assert killed_at[0] < lease_ended


async def _change(database: Database, hold: Hold, **values: object) -> None:
    async with database.system() as session:
        await session.execute(update(Execution).where(Execution.id == hold.claim.execution_id).values(**values))
