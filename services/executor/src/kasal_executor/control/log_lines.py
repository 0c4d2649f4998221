"""What an execution had to say, for people: projected from its `log` events."""

from collections.abc import Iterable
from datetime import UTC, datetime

from kasal_contracts.events import Event, EventType
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from kasal_executor.tables import Execution, LogLine

from .changes import Change

TABLE = LogLine.as_table()


async def project_log_lines(session: AsyncSession, changes: Iterable[Change]) -> None:
    rows = [_row(change.row, event) for change in changes for event in change.events if event.type == EventType.LOG]
    if rows:
        await session.execute(insert(TABLE), rows)


def line_id(execution_id: str, event_id: int) -> str:
    """Ids sort like the events that the lines come from."""
    return f"{execution_id}-{event_id:010}"


def _row(row: Execution, event: Event) -> dict[str, object]:
    now = datetime.now(UTC)
    context = {key: value for key, value in event.data.items() if key not in {"level", "message"}}
    context |= {key: value for key, value in (("task", event.task), ("agent", event.agent)) if value is not None}
    return {
        "id": line_id(row.id, event.id or 0),
        "group_id": row.group_id,
        "created_by": row.created_by,
        "created_at": now,
        "updated_at": now,
        "revision": 1,
        "execution_id": row.id,
        "timestamp": event.ts,
        "level": str(event.data.get("level") or "info").lower()[:16],
        "message": str(event.data.get("message") or ""),
        "context": context,
    }
