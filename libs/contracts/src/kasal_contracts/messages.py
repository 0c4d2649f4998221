"""Messages on the bus: frozen, named and versioned.

Inside a version changes are additive. A breaking change is a new name; unknown jobs go to the dead queue.
"""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from .events import Event, NumberedEvent
from .executions import ChildOutcome, ResourceUsage, Status
from .wire import Frozen, Timestamp


class ExecutionJob(Frozen):
    """Offers one attempt of an execution to the workers. Sent again until it is claimed; claims are idempotent."""

    type: Literal["execution.job.v1"] = "execution.job.v1"
    execution_id: str
    attempt: int
    group_id: str
    traceparent: str | None = None


class AttemptOutcome(Frozen):
    """How an attempt ended, as its worker saw it. `last_seq` is the number of its last event."""

    status: Status
    last_seq: int
    child: ChildOutcome
    resources: ResourceUsage = ResourceUsage()


class AttemptEvents(Frozen):
    """Events of one attempt in order of `seq`. `outcome` comes with the last ones."""

    type: Literal["attempt.events.v1"] = "attempt.events.v1"
    execution_id: str
    attempt: int
    events: list[NumberedEvent]
    outcome: AttemptOutcome | None = None


class LiveEvents(Frozen):
    """Events that are already in the log, or chunks that never will be; for clients that watch now."""

    type: Literal["live.events.v1"] = "live.events.v1"
    execution_id: str
    events: list[Event]


class StateChanged(Frozen):
    """One state change, for the feed of a group."""

    type: Literal["state.changed.v1"] = "state.changed.v1"
    execution_id: str
    group_id: str
    status: Status
    at: Timestamp


class Nudge(Frozen):
    """Something is due: whoever leads looks now instead of at its next tick."""

    type: Literal["nudge.v1"] = "nudge.v1"


class CancelAsked(Frozen):
    """Tells the worker that holds an execution to look at its cancel flag at once."""

    type: Literal["cancel.asked.v1"] = "cancel.asked.v1"
    execution_id: str
    attempt: int


Message = ExecutionJob | AttemptEvents | LiveEvents | StateChanged | Nudge | CancelAsked
AnyMessage: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])
