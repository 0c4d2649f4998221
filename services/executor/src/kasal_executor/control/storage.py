"""How changes reach the database: rows are locked in one order, and written with few statements, however many."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, bindparam, delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import load_only

from kasal_executor.event_log import store
from kasal_executor.tables import EarlyEvents, Execution

from .changes import Change
from .partial_results import add_partial_results
from .spans import close_spans

TABLE = Execution.as_table()
THIS_ROW = TABLE.c.execution_id == bindparam("row_id")
HAS_EARLY = exists().where(EarlyEvents.execution_id == Execution.id)
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


async def locked(
    session: AsyncSession, which: ColumnElement[bool], *, skip_locked: bool = False, limit: int | None = None
) -> list[Change]:
    """Lock the rows of `which` until the transaction ends. All who lock several do it in the order of their ids."""
    found = await session.execute(
        select(Execution, HAS_EARLY)
        .where(which)
        .order_by(Execution.id)
        .limit(limit)
        .options(NEEDED)
        .with_for_update(of=Execution, skip_locked=skip_locked)
        .execution_options(populate_existing=True)
    )
    changes = [Change(row, has_early=has_early) for row, has_early in found]
    session.expunge_all()
    return changes


async def save(session: AsyncSession, changes: Collection[Change]) -> None:
    """Write events and rows. Nothing is announced before the caller has committed."""
    entries = [entry for change in changes for entry in change.entries]
    if entries:
        await store(session, entries)
    ended = [change for change in changes if change.ends]
    if ended:
        await add_partial_results(session, ended)
        await close_spans(session, ended)
    going_on = [_progress(change.row) for change in changes if change.new_status is None]
    if going_on:
        await session.execute(update(TABLE).where(THIS_ROW), going_on)
    moved = [change for change in changes if change.new_status is not None]
    if moved:
        await session.execute(update(TABLE).where(THIS_ROW), [_progress(each.row) | _state(each) for each in moved])
    obsolete = [change for change in moved if change.has_early]
    if obsolete:
        await drop_early(session, obsolete)


async def drop_early(session: AsyncSession, changes: Collection[Change]) -> None:
    await session.execute(delete(EarlyEvents).where(EarlyEvents.execution_id.in_([each.row.id for each in changes])))


async def keep_early(session: AsyncSession, rows: Sequence[dict[str, object]]) -> None:
    """`rows` have the columns of EarlyEvents."""
    await session.execute(insert(EarlyEvents.as_table()), rows)


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


def _state(change: Change) -> dict[str, object]:
    row = change.row
    return {
        "status": row.status,
        "attempt": row.attempt,
        "available_at": row.available_at,
        "published_at": row.published_at,
        "queue_reason": None,
        "worker_id": row.worker_id,
        "lease_until": row.lease_until,
        "lost_leases": row.lost_leases,
        "end_time": row.ended_at if change.ends else None,
        "result": row.result if change.ends else None,
        "error": row.error if change.ends else None,
        "resource_usage": row.resource_usage if change.ends else {},
    }
