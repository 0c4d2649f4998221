"""The only place that writes events: ids come from the execution's own counter, in the caller's transaction."""

from collections.abc import Iterable, Sequence

from kasal_contracts.events import ChildEvent, Event, NumberedEvent
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from .tables import Execution, ExecutionEvent

Entry = tuple[Event, int | None]
"""An event with its id, and the number that its worker gave it."""


async def append(session: AsyncSession, execution_id: str, attempt: int, events: Sequence[ChildEvent]) -> list[Event]:
    """Add `events` to the log and return them with their ids. Publish them live only after the commit."""
    newest = await session.scalar(
        update(Execution)
        .where(Execution.id == execution_id)
        .values(last_event_id=Execution.last_event_id + len(events), updated_at=Execution.updated_at)
        .returning(Execution.last_event_id)
        .execution_options(synchronize_session=False)
    )
    if newest is None:
        raise LookupError(f"execution {execution_id} is not in the log's database")
    entries = numbered(execution_id, attempt, events, after=newest - len(events))
    await store(session, entries)
    return [event for event, _ in entries]


def numbered(execution_id: str, attempt: int, events: Iterable[ChildEvent], *, after: int) -> list[Entry]:
    """Gives ids from `after` + 1 on. The caller holds the execution's row and moves its counter."""
    return [
        (
            Event(
                id=event_id,
                execution_id=execution_id,
                attempt=attempt,
                ts=event.ts,
                type=event.type,
                task=event.task,
                agent=event.agent,
                span_id=event.span_id,
                parent_span_id=event.parent_span_id,
                data=event.data,
            ),
            event.seq if isinstance(event, NumberedEvent) else None,
        )
        for event_id, event in enumerate(events, start=after + 1)
    ]


async def store(session: AsyncSession, entries: Sequence[Entry]) -> None:
    """Write numbered events of any executions in one statement."""
    rows = [{**event.__dict__, "seq": seq} for event, seq in entries]
    await session.execute(insert(ExecutionEvent.as_table()), rows)


async def read(session: AsyncSession, execution_id: str, *, after: int, limit: int) -> list[Event]:
    """Events with an id over `after`, oldest first. The caller has made sure that the execution may be seen."""
    rows = await session.scalars(
        select(ExecutionEvent)
        .where(ExecutionEvent.execution_id == execution_id, ExecutionEvent.id > after)
        .order_by(ExecutionEvent.id)
        .limit(limit)
    )
    return [Event.model_validate(row, from_attributes=True) for row in rows]
