"""What an execution left behind: `/execution/{id}/events`, `/logs` and `/trace`."""

from typing import Annotated

from fastapi import APIRouter, Query
from kasal_contracts.pages import Page
from kasal_db import owned
from kasal_db.paging import decode_cursor, encode_cursor
from kasal_runtime.paging import DEFAULT_LIMIT, Cursor, Limit
from kasal_runtime.security import Viewer

from kasal_executor import event_log
from kasal_executor.tables import LogLine, Span

from .control import ThisControl
from .lookup import find_execution
from .texts import clean_text
from .views import LARGEST_INT, EventPage, LogLineOut, SpanOut, Trace

router = APIRouter(prefix="/api/v1/execution/{execution_id}", tags=["executions"])

MOST_EVENTS = 1000
DEFAULT_EVENTS = 500


@router.get("/events", summary="The event log, oldest first")
async def list_execution_events(
    execution_id: str,
    me: Viewer,
    control: ThisControl,
    after: Annotated[int, Query(ge=0, le=LARGEST_INT, description="The id of the last event that is known.")] = 0,
    cursor: Annotated[int, Query(ge=0, le=LARGEST_INT, description="`next_cursor` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_EVENTS)] = DEFAULT_EVENTS,
) -> EventPage:
    async with control.database.tenant(me, read_only=True) as session:
        execution = await find_execution(session, me, execution_id)
        events = await event_log.read(session, execution.id, after=max(after, cursor), limit=limit)
    last = events[-1].id if events else None
    has_more = last is not None and last < execution.last_event_id
    return EventPage(items=events, next_cursor=str(last) if has_more else None)


@router.get("/logs", summary="What it had to say, oldest first")
async def list_execution_logs(
    execution_id: str,
    me: Viewer,
    control: ThisControl,
    level: Annotated[list[str], Query(max_length=10, description="May be given several times.")] = [],  # noqa: B006
    q: Annotated[str | None, Query(max_length=200, description="Text that the message contains.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[LogLineOut]:
    async with control.database.tenant(me, read_only=True) as session:
        execution = await find_execution(session, me, execution_id)
        lines = owned(LogLine, me).where(LogLine.execution_id == execution.id)
        if level:
            lines = lines.where(LogLine.level.in_([clean_text(each).lower() for each in level]))
        if q:
            lines = lines.where(LogLine.message.icontains(clean_text(q), autoescape=True))
        if cursor is not None:
            lines = lines.where(LogLine.id > decode_cursor(cursor))
        found = list(await session.scalars(lines.order_by(LogLine.id).limit(limit + 1)))
    following = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return Page(items=[LogLineOut.model_validate(line) for line in found[:limit]], next_cursor=following)


@router.get("/trace", summary="The tree of its operations")
async def read_execution_trace(execution_id: str, me: Viewer, control: ThisControl) -> Trace:
    async with control.database.tenant(me, read_only=True) as session:
        execution = await find_execution(session, me, execution_id)
        rows = owned(Span, me).where(Span.execution_id == execution.id).order_by(Span.start, Span.id)
        spans = list(await session.scalars(rows))
    return Trace(trace_id=execution.trace_id, items=[_span(span) for span in spans])


def _span(span: Span) -> SpanOut:
    return SpanOut(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_span_id,
        operation=span.operation,
        start=span.start,
        duration_ms=span.duration,
        status=span.status,
        metadata=span.details,
    )
