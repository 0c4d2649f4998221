"""Executions: what is ordered, what is run, and what comes out."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints

from .crew import CrewDocument
from .models import ResolvedModel
from .wire import Frozen, JsonObject, Resource, Strict, Timestamp


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"

    @property
    def is_end(self) -> bool:
        return self in _ENDS


_ENDS = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.TIMED_OUT})


class Priority(StrEnum):
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class ErrorCode(StrEnum):
    """Why an execution ended without success."""

    TIMEOUT = "timeout"
    TOKEN_BUDGET = "token_budget"  # noqa: S105
    COST_BUDGET = "cost_budget"
    MEMORY_LIMIT = "memory_limit"
    CPU_LIMIT = "cpu_limit"
    MODEL_ERROR = "model_error"
    TOOL_ERROR = "tool_error"
    INVALID_OUTPUT = "invalid_output"
    AUTH_EXPIRED = "auth_expired"
    WORKER_LOST = "worker_lost"
    CHILD_CRASHED = "child_crashed"
    CANCELLED = "cancelled"
    INTERNAL = "internal"


class ExecutionError(Frozen):
    code: str
    message: str


class RetryPolicy(Strict):
    base_s: float = Field(default=2, ge=0.1, le=3600)
    max_s: float = Field(default=60, ge=0.1, le=86_400)
    codes: list[str] = Field(default=[], max_length=50)


class Limits(Strict):
    timeout_s: float = Field(default=3600, gt=0, le=7 * 86_400)
    max_attempts: int = Field(default=3, ge=1, le=20)
    max_tokens: int | None = Field(default=None, ge=1)
    max_cost_usd: float | None = Field(default=None, ge=0)
    memory_mb: int | None = Field(default=None, ge=64, le=1_048_576)
    cpu_s: float | None = Field(default=None, gt=0)
    grace_s: float = Field(default=5, ge=0, le=300)
    on_budget: Literal["fail", "wait"] = "fail"
    retry: RetryPolicy = RetryPolicy()


class LimitMaxima(Strict):
    """The most that an execution may ask for; null is no limit beyond the API's own."""

    timeout_s: float | None = Field(default=None, gt=0, le=7 * 86_400)
    max_attempts: int | None = Field(default=None, ge=1, le=20)
    max_tokens: int | None = Field(default=None, ge=1, lt=2**53)
    max_cost_usd: float | None = Field(default=None, ge=0, le=1e9)
    memory_mb: int | None = Field(default=None, ge=64, le=1_048_576)
    cpu_s: float | None = Field(default=None, gt=0, le=1e9)

    def capped(self, limits: Limits) -> Limits:
        """`limits`, none of them above its maximum; a limit that was not asked for is set to its maximum."""
        asked, most = limits.model_dump(exclude_none=True), self.model_dump(exclude_none=True)
        return limits.model_copy(update={name: min(top, asked.get(name, top)) for name, top in most.items()})


Label = Annotated[str, StringConstraints(max_length=200)]


class Usage(Frozen):
    llm_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None


class ResourceUsage(Frozen):
    """`max_rss_mb` is private memory of the child's processes above their start, in MiB."""

    wall_s: float | None = None
    cpu_s: float | None = None
    max_rss_mb: float | None = None


class TaskResult(Frozen):
    """`agent` is the key of the agent that answered; in the hierarchical process it may be `manager`."""

    key: str
    agent: str | None = None
    status: Literal["completed", "failed", "skipped", "pending"] = "pending"
    output: str | None = None
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None


class Result(Frozen):
    text: str | None = None
    json_: JsonValue = Field(default=None, alias="json")
    tasks: list[TaskResult] = []


class ExecutionRecord(Resource):
    """`result` and `error` are set by the end state; `queue_reason` says why a queued one waits."""

    crew_id: str | None
    version: int | None
    name: str
    status: Status
    priority: Priority
    attempt: int
    inputs: JsonObject
    limits: Limits
    result: Result | None
    error: ExecutionError | None
    usage: Usage
    resource_usage: ResourceUsage
    queued_at: Timestamp
    queue_reason: str | None
    started_at: Timestamp | None
    ended_at: Timestamp | None
    parent_id: str | None
    labels: dict[str, str]
    trace_id: str


class ResolvedTool(Frozen):
    """A tool with the group's configuration; `secrets` names keys that the egress broker injects."""

    name: str
    plugin: str
    config: JsonObject = {}
    effect: Literal["pure", "idempotent", "effectful"]


class Snapshot(Frozen):
    """Everything that one execution needs, fixed when it was submitted. Holds no secret."""

    crew_id: str | None = None
    version: int | None = None
    crew: CrewDocument
    models: list[ResolvedModel]
    default_model: str
    tools: list[ResolvedTool] = []
    memory_identity: str | None = None
    maxima: LimitMaxima = LimitMaxima()


class ChildJob(Frozen):
    """What a worker hands to the child of one attempt."""

    execution_id: str
    group_id: str
    attempt: int
    snapshot: Snapshot
    inputs: JsonObject = {}
    limits: Limits = Limits()
    trace_id: str
    egress_socket: str
    egress_token: str


class ChildOutcome(Frozen):
    """The last thing a child writes. `error` is set exactly when it did not succeed."""

    result: Result | None = None
    error: ExecutionError | None = None
