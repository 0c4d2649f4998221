"""Events of an execution, from the child's pipe to the client's screen.

A child writes `ChildEvent`s; its worker numbers them (`seq`, from 1 in each attempt); the recorder gives each the
`id` that clients resume from. Unknown types travel unchanged, so that an older reader does not break a newer writer.
"""

from enum import StrEnum

from .wire import Frozen, JsonObject, Timestamp


class EventType(StrEnum):
    EXECUTION_QUEUED = "execution.queued"
    EXECUTION_STARTED = "execution.started"
    EXECUTION_RETRYING = "execution.retrying"
    EXECUTION_WAITING = "execution.waiting"
    EXECUTION_RESUMED = "execution.resumed"
    EXECUTION_SUCCEEDED = "execution.succeeded"
    EXECUTION_FAILED = "execution.failed"
    EXECUTION_CANCELLED = "execution.cancelled"
    EXECUTION_TIMED_OUT = "execution.timed_out"
    TASK_STARTED = "task.started"
    TASK_COMPLETED = "task.completed"
    TASK_FAILED = "task.failed"
    TASK_SKIPPED = "task.skipped"
    AGENT_STARTED = "agent.started"
    AGENT_COMPLETED = "agent.completed"
    AGENT_DELEGATED = "agent.delegated"
    AGENT_MESSAGE = "agent.message"
    LLM_STARTED = "llm.started"
    LLM_CHUNK = "llm.chunk"
    LLM_COMPLETED = "llm.completed"
    LLM_FAILED = "llm.failed"
    TOOL_STARTED = "tool.started"
    TOOL_COMPLETED = "tool.completed"
    TOOL_FAILED = "tool.failed"
    MEMORY_SEARCHED = "memory.searched"
    MEMORY_SAVED = "memory.saved"
    GUARDRAIL_PASSED = "guardrail.passed"
    GUARDRAIL_FAILED = "guardrail.failed"
    HUMAN_REQUESTED = "human.requested"
    HUMAN_ANSWERED = "human.answered"
    BUDGET_WARNING = "budget.warning"
    LOG = "log"


END_EVENTS = frozenset(
    {
        EventType.EXECUTION_SUCCEEDED,
        EventType.EXECUTION_FAILED,
        EventType.EXECUTION_CANCELLED,
        EventType.EXECUTION_TIMED_OUT,
    }
)


class ChildEvent(Frozen):
    """An event before it is numbered. `task` is the task's key, `agent` the agent's key."""

    ts: Timestamp
    type: str
    task: str | None = None
    agent: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    data: JsonObject = {}


class NumberedEvent(ChildEvent):
    """An event of one attempt; `seq` counts from 1 without gaps."""

    seq: int


class Event(ChildEvent):
    """An event as clients see it. `id` only grows inside an execution; a chunk has none."""

    id: int | None
    execution_id: str
    attempt: int

    @property
    def is_end(self) -> bool:
        return self.type in END_EVENTS
