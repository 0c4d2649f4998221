"""The only place that writes events: ids come from the execution's own counter, in the caller's transaction."""

from collections.abc import Sequence

from kasal_contracts.events import ChildEvent, Event, NumberedEvent
from kasal_contracts.wire import JsonObject
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from .tables import Execution, ExecutionEvent


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
    first = newest - len(events) + 1
    logged = [
        Event(execution_id=execution_id, attempt=attempt, id=first + offset, **event.model_dump(exclude={"seq"}))
        for offset, event in enumerate(events)
    ]
    rows: list[JsonObject] = [
        {**entry.model_dump(), "seq": event.seq if isinstance(event, NumberedEvent) else None}
        for entry, event in zip(logged, events, strict=True)
    ]
    await session.execute(insert(ExecutionEvent), rows)
    return logged


async def read(session: AsyncSession, execution_id: str, *, after: int, limit: int) -> list[Event]:
    """Events with an id over `after`, oldest first. The caller has made sure that the execution may be seen."""
    rows = await session.scalars(
        select(ExecutionEvent)
        .where(ExecutionEvent.execution_id == execution_id, ExecutionEvent.id > after)
        .order_by(ExecutionEvent.id)
        .limit(limit)
    )
    return [Event.model_validate(row, from_attributes=True) for row in rows]
