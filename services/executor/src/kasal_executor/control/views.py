"""Executions as clients send and see them."""

from typing import Annotated, Self

from kasal_contracts.events import Event
from kasal_contracts.executions import ExecutionRecord, Label, Limits, Priority
from kasal_contracts.wire import JsonObject, Strict, Timestamp
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from kasal_executor.tables import Execution

LARGEST_INT = 2**31 - 1

LabelKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$")]


class ExecutionIn(Strict):
    """What is to be run: a saved crew or a whole crew document, and with what."""

    crew_id: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    version: int | None = Field(default=None, ge=1, le=LARGEST_INT, description="The newest one when absent.")
    crew: JsonObject | None = Field(default=None, description="A crew document, as `POST /crews` takes it.")
    inputs: JsonObject = {}
    name: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)] | None = None
    priority: Priority = Priority.NORMAL
    limits: Limits = Limits()
    labels: dict[LabelKey, Label] = Field(default={}, max_length=50)

    @model_validator(mode="after")
    def _names_one_crew(self) -> Self:
        if (self.crew_id is None) == (self.crew is None):
            raise ValueError("give either crew_id or crew")
        if self.version is not None and self.crew_id is None:
            raise ValueError("a version belongs to a crew_id")
        return self


class ExecutionOut(ExecutionRecord):
    @classmethod
    def of(cls, row: Execution) -> Self:
        return cls.model_validate(row)


class EventPage(BaseModel):
    """`next_cursor` is what `after` takes to go on; it is absent at the end of the log as it is now."""

    items: list[Event]
    next_cursor: str | None = None


class LogLineOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: str
    timestamp: Timestamp
    level: str
    message: str
    context: JsonObject


class SpanOut(BaseModel):
    """`status` is `running`, `ok` or `error`; `duration_ms` is absent while it runs."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    operation: str
    start: Timestamp
    duration_ms: float | None
    status: str
    metadata: JsonObject


class Trace(BaseModel):
    """The spans of an execution in the order of their start; `parent_span_id` makes a tree of them."""

    trace_id: str
    items: list[SpanOut]


class WorkerOut(BaseModel):
    id: str
    host: str
    pid: int
    slots: int
    running: int
    draining: bool
    started_at: Timestamp
    heartbeat_age_s: float
