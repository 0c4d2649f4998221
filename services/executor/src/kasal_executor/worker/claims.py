"""Claiming an execution, and giving it back: compare-and-set on `(id, attempt)`, with the event in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kasal_bus import Bus
from kasal_bus.topology import LIVE, group_key
from kasal_contracts.events import ChildEvent, Event
from kasal_contracts.executions import Limits, Snapshot, Status
from kasal_contracts.identity import Act
from kasal_contracts.messages import ExecutionJob, LiveEvents, StateChanged
from kasal_contracts.wire import JsonObject
from kasal_db import Database, db_now
from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession

from kasal_executor import event_log
from kasal_executor.states import EVENT_OF
from kasal_executor.tables import Execution

CLAIMABLE = (Status.QUEUED, Status.RETRYING)


@dataclass(frozen=True)
class Claim:
    """One attempt that is ours. `key` is how leases and tokens name it."""

    execution_id: str
    attempt: int
    group_id: str
    user_id: str
    snapshot: Snapshot
    inputs: JsonObject
    limits: Limits
    trace_id: str

    @property
    def key(self) -> tuple[str, int]:
        return self.execution_id, self.attempt

    @property
    def act(self) -> Act:
        return Act(group_id=self.group_id, user_id=self.user_id, execution_id=self.execution_id, attempt=self.attempt)


async def claim(database: Database, bus: Bus, job: ExecutionJob, worker_id: str, lease: timedelta) -> Claim | None:
    """Take the attempt that `job` offers; `None` when it is not to be had any more.

    Raises DatabaseUnavailableError.
    """
    async with database.system() as session:
        taken = await _take(session, job, worker_id, lease)
        if taken is None:
            return None
        started = await _log(session, taken.key, Status.RUNNING, {"worker_id": worker_id})
    await announce(bus, taken.group_id, Status.RUNNING, started)
    return taken


async def _take(session: AsyncSession, job: ExecutionJob, worker_id: str, lease: timedelta) -> Claim | None:
    taken = (
        update(Execution)
        .where(Execution.id == job.execution_id, Execution.attempt == job.attempt, Execution.status.in_(CLAIMABLE))
        .values(
            status=Status.RUNNING,
            worker_id=worker_id,
            lease_until=db_now(lease),
            started_at=func.coalesce(Execution.started_at, db_now()),
            last_seq=0,
            queue_reason=None,
            revision=Execution.revision + 1,
        )
        .returning(
            Execution.group_id,
            Execution.created_by,
            Execution.snapshot,
            Execution.inputs,
            Execution.limits,
            Execution.trace_id,
        )
        .execution_options(synchronize_session=False)
    )
    row = (await session.execute(taken)).one_or_none()
    if row is None:
        return None
    return Claim(
        execution_id=job.execution_id,
        attempt=job.attempt,
        group_id=row.group_id,
        user_id=row.created_by,
        snapshot=Snapshot.model_validate(row.snapshot),
        inputs=row.inputs,
        limits=Limits.model_validate(row.limits),
        trace_id=row.trace_id,
    )


async def give_back(database: Database, bus: Bus, held: Claim, worker_id: str) -> None:
    """Put an attempt that was stopped before its end back into the queue, as the next attempt.

    Does nothing where the lease is no longer ours. Raises DatabaseUnavailableError.
    """
    returned = (
        update(Execution)
        .where(
            Execution.id == held.execution_id,
            Execution.attempt == held.attempt,
            Execution.worker_id == worker_id,
            Execution.status == Status.RUNNING,
        )
        .values(
            status=Status.QUEUED,
            attempt=Execution.attempt + 1,
            worker_id=None,
            lease_until=None,
            published_at=None,
            available_at=db_now(),
            queue_reason="its worker was stopped",
            lost_leases=Execution.lost_leases + 1,
            last_seq=0,
            revision=Execution.revision + 1,
        )
        .returning(Execution.attempt)
        .execution_options(synchronize_session=False)
    )
    async with database.system() as session:
        attempt = await session.scalar(returned)
        if attempt is None:
            return
        queued = await _log(session, (held.execution_id, attempt), Status.QUEUED, {"reason": "worker_stopped"})
    await announce(bus, held.group_id, Status.QUEUED, queued)


async def _log(session: AsyncSession, key: tuple[str, int], status: Status, data: JsonObject) -> Sequence[Event]:
    event = ChildEvent(ts=datetime.now(UTC), type=EVENT_OF[status], data=data)
    return await event_log.append(session, *key, [event])


async def announce(bus: Bus, group_id: str, status: Status, logged: Sequence[Event]) -> None:
    """Tell those who watch, after the commit."""
    execution_id = logged[0].execution_id
    changed = StateChanged(execution_id=execution_id, group_id=group_id, status=status, at=logged[0].ts)
    await bus.publish(LIVE, execution_id, LiveEvents(execution_id=execution_id, events=list(logged)))
    await bus.publish(LIVE, group_key(group_id), changed)
