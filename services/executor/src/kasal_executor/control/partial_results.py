"""What an execution had achieved when it was stopped, read from its own log."""

from collections import defaultdict
from collections.abc import Collection, Mapping

from kasal_contracts.events import EventType
from kasal_contracts.executions import Result, Snapshot, TaskResult
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kasal_executor.tables import Execution, ExecutionEvent

from .changes import Change

TASK_EVENTS = (EventType.TASK_STARTED, EventType.TASK_COMPLETED, EventType.TASK_FAILED, EventType.TASK_SKIPPED)


async def add_partial_results(session: AsyncSession, ended: Collection[Change]) -> None:
    """Gives a result to those that ran and brought none: their child was gone before it could tell."""
    wanting = {each.row.id: each.row for each in ended if each.row.result is None and each.row.started_at is not None}
    if not wanting:
        return
    found = await session.execute(
        select(ExecutionEvent)
        .where(ExecutionEvent.execution_id.in_(wanting), ExecutionEvent.type.in_(TASK_EVENTS))
        .order_by(ExecutionEvent.execution_id, ExecutionEvent.id)
    )
    events: defaultdict[str, list[ExecutionEvent]] = defaultdict(list)
    for event in found.scalars():
        events[event.execution_id].append(event)
    snapshots = await session.execute(select(Execution.id, Execution.snapshot).where(Execution.id.in_(wanting)))
    for execution_id, snapshot in snapshots:
        result = _result(Snapshot.model_validate(snapshot), events[execution_id])
        wanting[execution_id].result = result.model_dump(mode="json")


def _result(snapshot: Snapshot, events: Collection[ExecutionEvent]) -> Result:
    tasks = {task.key: TaskResult(key=task.key, agent=task.agent) for task in snapshot.crew.tasks}
    for event in events:
        if event.task in tasks:
            tasks[event.task] = tasks[event.task].model_copy(update=_news(event))
    return Result(tasks=list(tasks.values()))


def _news(event: ExecutionEvent) -> Mapping[str, object]:
    match event.type:
        case EventType.TASK_STARTED:
            return {"status": "pending", "agent": event.data.get("agent"), "started_at": event.ts, "ended_at": None}
        case EventType.TASK_COMPLETED:
            return {"status": "completed", "output": event.data.get("output"), "ended_at": event.ts}
        case EventType.TASK_FAILED:
            return {"status": "failed", "ended_at": event.ts}
        case _:
            return {"status": "skipped", "ended_at": event.ts}
