"""The trace of an execution, projected from its events: one span per started and ended operation."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from kasal_contracts.events import Event, EventType
from kasal_contracts.executions import Status
from kasal_contracts.wire import JsonObject
from sqlalchemy import Insert, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from kasal_executor.tables import Execution, Span

from .changes import Change
from .padding import padded

RUNNING, OK, ERROR = "running", "ok", "error"
STATUS_AFTER: Mapping[str, str] = {
    EventType.TASK_STARTED: RUNNING,
    EventType.AGENT_STARTED: RUNNING,
    EventType.LLM_STARTED: RUNNING,
    EventType.TOOL_STARTED: RUNNING,
    EventType.TASK_COMPLETED: OK,
    EventType.AGENT_COMPLETED: OK,
    EventType.LLM_COMPLETED: OK,
    EventType.TOOL_COMPLETED: OK,
    EventType.TASK_FAILED: ERROR,
    EventType.LLM_FAILED: ERROR,
    EventType.TOOL_FAILED: ERROR,
}
LONGEST_DETAIL = 500

TABLE = Span.as_table()
THIS_SPAN = TABLE.c.id == bindparam("row_id")


@dataclass
class _Draft:
    """`start` is known once the operation's first event was seen."""

    row: Execution
    span_id: str
    parent_span_id: str | None
    operation: str
    seen_at: datetime
    start: datetime | None = None
    status: str = RUNNING
    duration: float | None = None
    details: JsonObject = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.row.id}-{self.span_id}"

    def take(self, event: Event) -> None:
        self.status = STATUS_AFTER[event.type]
        self.details |= _details(event)
        if self.status == RUNNING:
            self.start = event.ts
            return
        self.seen_at = event.ts
        if event.data.get("status") == "failed":
            self.status = ERROR
        took = event.data.get("duration_ms")
        self.duration = float(took) if isinstance(took, int | float) else None

    @property
    def is_unmeasured(self) -> bool:
        return self.status != RUNNING and self.duration is None

    def settle(self, known_start: datetime | None) -> None:
        """Fill in what the new events did not say."""
        took = timedelta(milliseconds=self.duration or 0)
        self.start = self.start or known_start or self.seen_at - took
        if self.is_unmeasured:
            self.duration = _milliseconds(self.start, self.seen_at)


async def project_spans(session: AsyncSession, changes: Iterable[Change]) -> None:
    """Write the spans that the new events of `changes` begin and end."""
    drafts: dict[str, _Draft] = {}
    for change in changes:
        for event in change.events:
            _draw(drafts, change.row, event)
    if not drafts:
        return
    known: dict[str, datetime] = {}
    if unmeasured := [draft.id for draft in drafts.values() if draft.is_unmeasured]:
        found = await session.execute(select(Span.id, Span.start).where(Span.id.in_(padded(unmeasured))))
        known = {row.id: row.start for row in found}
    for draft in drafts.values():
        draft.settle(known.get(draft.id))
    await session.execute(_upsert(session), [_row(draft) for draft in drafts.values()])


def _upsert(session: AsyncSession) -> Insert:
    """Begins a span, or ends the one that is there: its start stays."""
    is_postgresql = session.get_bind().dialect.name == "postgresql"
    statement = postgresql.insert(TABLE) if is_postgresql else sqlite.insert(TABLE)
    ends = {name: statement.excluded[name] for name in ("status", "duration", "metadata", "updated_at")}
    return statement.on_conflict_do_update(index_elements=[TABLE.c.id], set_=ends)


def _draw(drafts: dict[str, _Draft], row: Execution, event: Event) -> None:
    if event.span_id is None or event.type not in STATUS_AFTER:
        return
    if event.type == EventType.TASK_STARTED and event.parent_span_id is not None:
        # What encloses the tasks is the attempt itself; no event tells of it.
        root = _Draft(row, event.parent_span_id, None, "execution", event.ts, start=event.ts)
        root.details = {"attempt": event.attempt}
        drafts.setdefault(root.id, root)
    draft = _Draft(row, event.span_id, event.parent_span_id, _operation(event), event.ts)
    drafts.setdefault(draft.id, draft).take(event)


def _operation(event: Event) -> str:
    kind = event.type.partition(".")[0]
    name = {"task": event.task, "agent": event.agent, "llm": event.data.get("model"), "tool": event.data.get("tool")}
    return f"{kind} {name.get(kind) or ''}".strip()[:200]


def _details(event: Event) -> JsonObject:
    """Figures and short words; whole texts are in the events."""
    short: JsonObject = {
        key: value[:LONGEST_DETAIL] if isinstance(value, str) else value
        for key, value in event.data.items()
        if isinstance(value, str | int | float)
    }
    return {"task": event.task, "agent": event.agent} | short


async def close_spans(session: AsyncSession, ended: Collection[Change]) -> None:
    """What is still open when an execution ends, ends with it."""
    rows = {change.row.id: change.row for change in ended}
    found = await session.execute(
        select(Span.id, Span.execution_id, Span.operation, Span.start).where(
            Span.execution_id.in_(rows), Span.status == RUNNING
        )
    )
    now = datetime.now(UTC)
    closed: list[dict[str, object]] = []
    for id_, execution_id, operation, start in found:
        good = operation == "execution" and rows[execution_id].status == Status.SUCCEEDED
        closed.append({"row_id": id_, "status": OK if good else ERROR, "duration": _milliseconds(start, now)})
    if closed:
        await session.execute(update(TABLE).where(THIS_SPAN), closed)


def _milliseconds(start: datetime, end: datetime) -> float:
    return max((end - start) / timedelta(milliseconds=1), 0)


def _row(draft: _Draft) -> dict[str, object]:
    now = datetime.now(UTC)
    return {
        "id": draft.id,
        "group_id": draft.row.group_id,
        "created_by": draft.row.created_by,
        "created_at": now,
        "updated_at": now,
        "revision": 1,
        "execution_id": draft.row.id,
        "trace_id": draft.row.trace_id,
        "span_id": draft.span_id,
        "parent_span_id": draft.parent_span_id,
        "operation": draft.operation,
        "start": draft.start,
        "duration": draft.duration,
        "status": draft.status,
        "metadata": draft.details,
    }
