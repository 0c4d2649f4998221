"""Changes to executions: rows are locked, changed in memory, and written with their events in one transaction."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kasal_contracts.events import ChildEvent, Event
from kasal_contracts.executions import ErrorCode, ExecutionError, ResourceUsage, Result, Status, Usage
from kasal_contracts.wire import JsonObject
from sqlalchemy import ColumnElement, bindparam, delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import load_only

from ..event_log import Entry, numbered, store
from ..states import EVENT_OF, check_transition
from ..tables import EarlyEvents, Execution

MAX_LOST_LEASES = 10

TABLE = Execution.__table__
THIS_ROW = TABLE.c.execution_id == bindparam("row_id")
NEEDED = load_only(
    Execution.id,
    Execution.group_id,
    Execution.created_by,
    Execution.status,
    Execution.attempt,
    Execution.usage,
    Execution.trace_id,
    Execution.started_at,
    Execution.available_at,
    Execution.published_at,
    Execution.cancel_asked_at,
    Execution.worker_id,
    Execution.lease_until,
    Execution.lost_leases,
    Execution.last_event_id,
    Execution.last_seq,
    Execution.revision,
)


@dataclass
class Change:
    """One locked execution and what is about to change about it.

    `row` belongs to no session: what is set on it is written by `save` alone.
    """

    row: Execution
    has_early: bool = False
    entries: list[Entry] = field(default_factory=list)
    new_status: Status | None = None

    @property
    def events(self) -> list[Event]:
        return [event for event, _ in self.entries]

    @property
    def has_ended(self) -> bool:
        return self.row.status.is_end

    def log(self, events: Sequence[ChildEvent]) -> None:
        self.entries += numbered(self.row.id, self.row.attempt, events, after=self.row.last_event_id)
        self.row.last_event_id += len(events)

    def end(
        self,
        status: Status,
        *,
        error: ExecutionError | None = None,
        result: Result | None = None,
        resources: ResourceUsage | None = None,
    ) -> None:
        """Raises IllegalTransitionError; an end state never changes."""
        now = datetime.now(UTC)
        self._move(status)
        self.row.ended_at = now
        self.row.error = error.model_dump() if error else None
        self.row.result = result.model_dump() if result else None
        self.row.resource_usage = resources.model_dump(exclude_none=True) if resources else {}
        data: JsonObject = {"usage": Usage.model_validate(self.row.usage).model_dump()}
        if error:
            data["error"] = error.model_dump()
        self.log([ChildEvent(ts=now, type=EVENT_OF[status], data=data)])

    def cancel(self, words: str = "it was cancelled") -> None:
        self.end(Status.CANCELLED, error=ExecutionError(code=ErrorCode.CANCELLED, message=words))

    def lose(self) -> None:
        """The worker is gone: the next attempt waits for another one, but not for ever."""
        self.row.lost_leases += 1
        if self.row.cancel_asked_at is not None:
            self.cancel()
        elif self.row.lost_leases >= MAX_LOST_LEASES:
            words = f"{self.row.lost_leases} workers were lost while they ran it"
            self.end(Status.FAILED, error=ExecutionError(code=ErrorCode.WORKER_LOST, message=words))
        else:
            self._try_again()

    def _try_again(self) -> None:
        now = datetime.now(UTC)
        data: JsonObject = {"reason": ErrorCode.WORKER_LOST.value, "attempt": self.row.attempt + 1}
        self.log([ChildEvent(ts=now, type=EVENT_OF[Status.RETRYING], data=data)])
        self._move(Status.QUEUED)
        self.row.attempt += 1
        self.row.last_seq = 0
        self.row.available_at = now
        self.row.published_at = None

    def _move(self, status: Status) -> None:
        check_transition(self.row.status, status)
        self.row.status = self.new_status = status
        self.row.worker_id = None
        self.row.lease_until = None


async def locked(
    session: AsyncSession, which: ColumnElement[bool], *, skip_locked: bool = False, limit: int | None = None
) -> list[Change]:
    """Lock the rows of `which` until the transaction ends, in an order that all of us keep to."""
    early = exists().where(EarlyEvents.execution_id == Execution.id)
    found = await session.execute(
        select(Execution, early)
        .where(which)
        .order_by(Execution.id)
        .limit(limit)
        .options(NEEDED)
        .with_for_update(of=Execution, skip_locked=skip_locked)
    )
    changes = [Change(row, has_early=has_early) for row, has_early in found]
    session.expunge_all()
    return changes


async def save(session: AsyncSession, changes: Collection[Change]) -> None:
    """Write rows and events. Nothing is announced before the caller has committed."""
    entries = [entry for change in changes for entry in change.entries]
    if entries:
        await store(session, entries)
    moved = [change.row for change in changes if change.new_status is not None]
    going_on = [change.row for change in changes if change.new_status is None]
    if going_on:
        await session.execute(update(TABLE).where(THIS_ROW), [_progress(row) for row in going_on])
    if moved:
        await session.execute(update(TABLE).where(THIS_ROW), [_progress(row) | _state(row) for row in moved])
    obsolete = [change.row.id for change in changes if change.has_early and change.new_status is not None]
    if obsolete:
        await drop_early(session, obsolete)


async def drop_early(session: AsyncSession, execution_ids: Iterable[str]) -> None:
    await session.execute(delete(EarlyEvents).where(EarlyEvents.execution_id.in_(execution_ids)))


async def keep_early(session: AsyncSession, rows: Sequence[dict[str, object]]) -> None:
    await session.execute(insert(EarlyEvents), rows)


def _progress(row: Execution) -> dict[str, object]:
    return {
        "row_id": row.id,
        "last_event_id": row.last_event_id,
        "last_seq": row.last_seq,
        "usage": row.usage,
        "cancel_asked_at": row.cancel_asked_at,
        "revision": row.revision + 1,
        "updated_at": datetime.now(UTC),
    }


def _state(row: Execution) -> dict[str, object]:
    return {
        "status": row.status,
        "attempt": row.attempt,
        "available_at": row.available_at,
        "published_at": row.published_at,
        "queue_reason": None,
        "worker_id": row.worker_id,
        "lease_until": row.lease_until,
        "lost_leases": row.lost_leases,
        "end_time": row.ended_at if row.status.is_end else None,
        "result": row.result if row.status.is_end else None,
        "error": row.error if row.status.is_end else None,
        "resource_usage": row.resource_usage if row.status.is_end else {},
    }
