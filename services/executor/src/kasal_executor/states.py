"""The states of an execution and every way between them."""

from collections.abc import Mapping

from kasal_contracts.errors import ConflictError
from kasal_contracts.events import EventType
from kasal_contracts.executions import Status

NEXT: Mapping[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED, Status.FAILED, Status.TIMED_OUT}),
    Status.RUNNING: frozenset(
        {
            Status.SUCCEEDED,
            Status.FAILED,
            Status.CANCELLED,
            Status.TIMED_OUT,
            Status.RETRYING,
            Status.WAITING,
            Status.QUEUED,
        }
    ),
    Status.WAITING: frozenset({Status.QUEUED, Status.CANCELLED, Status.FAILED, Status.TIMED_OUT}),
    Status.RETRYING: frozenset({Status.RUNNING, Status.CANCELLED, Status.FAILED, Status.TIMED_OUT}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.TIMED_OUT: frozenset(),
}

EVENT_OF: Mapping[Status, EventType] = {
    Status.QUEUED: EventType.EXECUTION_QUEUED,
    Status.RUNNING: EventType.EXECUTION_STARTED,
    Status.WAITING: EventType.EXECUTION_WAITING,
    Status.RETRYING: EventType.EXECUTION_RETRYING,
    Status.SUCCEEDED: EventType.EXECUTION_SUCCEEDED,
    Status.FAILED: EventType.EXECUTION_FAILED,
    Status.CANCELLED: EventType.EXECUTION_CANCELLED,
    Status.TIMED_OUT: EventType.EXECUTION_TIMED_OUT,
}


class IllegalTransitionError(ConflictError):
    def __init__(self, current: Status, to: Status) -> None:
        super().__init__(f"a {current} execution cannot become {to}")


def check_transition(current: Status, to: Status) -> None:
    """Raises IllegalTransitionError unless the table above allows it."""
    if to not in NEXT[current]:
        raise IllegalTransitionError(current, to)
