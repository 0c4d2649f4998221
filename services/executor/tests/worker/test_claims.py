"""Claims: whoever comes first, once, with the event in the same transaction."""

import asyncio
from datetime import UTC, datetime, timedelta

from kasal_bus import Bus
from kasal_bus.topology import LIVE, group_key
from kasal_contracts.executions import Status
from kasal_contracts.messages import LiveEvents, StateChanged
from kasal_db import Database
from kasal_executor import event_log
from kasal_executor.worker.claims import claim, give_back

from .orders import GROUP, USER, model, order, row_of, snapshot

LEASE = timedelta(seconds=10)
SOON = timedelta(seconds=5)


async def test_a_claimed_execution_runs_under_a_lease_and_its_log_says_so(database: Database, bus: Bus) -> None:
    made = snapshot(model())
    job = await order(database, made, timeout_s=7)

    held = await claim(database, bus, job, "worker-1", LEASE)

    assert held is not None
    assert (held.snapshot, held.limits.timeout_s, held.group_id, held.user_id) == (made, 7, GROUP, USER)
    row = await row_of(database, job.execution_id)
    assert (row.status, row.worker_id, row.attempt) == (Status.RUNNING, "worker-1", 1)
    assert row.lease_until is not None
    assert row.started_at is not None
    assert timedelta(seconds=5) < row.lease_until - datetime.now(UTC) < timedelta(seconds=11)
    async with database.system(read_only=True) as session:
        events = await event_log.read(session, job.execution_id, after=0, limit=10)
    assert [(event.id, event.type, event.data) for event in events] == [
        (1, "execution.started", {"worker_id": "worker-1"})
    ]


async def test_of_ten_workers_that_want_one_execution_one_gets_it(database: Database, bus: Bus) -> None:
    job = await order(database, snapshot(model()), status=Status.RETRYING)

    claims = await asyncio.gather(*(claim(database, bus, job, f"worker-{n}", LEASE) for n in range(10)))

    assert sum(held is not None for held in claims) == 1
    row = await row_of(database, job.execution_id)
    assert claims[int(str(row.worker_id).removeprefix("worker-"))] is not None


async def test_a_job_of_an_earlier_attempt_is_not_claimed(database: Database, bus: Bus) -> None:
    job = await order(database, snapshot(model()))

    assert await claim(database, bus, job.model_copy(update={"attempt": 2}), "worker-1", LEASE) is None
    assert (await row_of(database, job.execution_id)).status == Status.QUEUED


async def test_who_watches_the_execution_or_its_group_sees_the_start(database: Database, bus: Bus) -> None:
    job = await order(database, snapshot(model()))
    async with bus.listen(LIVE) as feed:
        await feed.bind(job.execution_id)
        await feed.bind(group_key(GROUP))
        await claim(database, bus, job, "worker-1", LEASE)
        heard = [await feed.next(SOON) for _ in range(2)]

    messages = [letter[1] for letter in heard if letter is not None]
    [shown] = [message for message in messages if isinstance(message, LiveEvents)]
    [changed] = [message for message in messages if isinstance(message, StateChanged)]
    assert [event.type for event in shown.events] == ["execution.started"]
    assert (changed.execution_id, changed.status) == (job.execution_id, Status.RUNNING)


async def test_an_attempt_that_is_given_back_waits_as_the_next_one(database: Database, bus: Bus) -> None:
    job = await order(database, snapshot(model()))
    held = await claim(database, bus, job, "worker-1", LEASE)
    assert held is not None

    await give_back(database, bus, held, "worker-2")
    assert (await row_of(database, job.execution_id)).status == Status.RUNNING
    await give_back(database, bus, held, "worker-1")

    row = await row_of(database, job.execution_id)
    assert (row.status, row.attempt, row.worker_id, row.lost_leases) == (Status.QUEUED, 2, None, 1)
    again = await claim(database, bus, job.model_copy(update={"attempt": 2}), "worker-2", LEASE)
    assert again is not None
    assert again.attempt == 2
