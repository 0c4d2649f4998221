"""What may happen to an execution: changed in memory on a locked row, written by `storage` in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kasal_contracts.events import ChildEvent, Event
from kasal_contracts.executions import ErrorCode, ExecutionError, ResourceUsage, Result, Status, Usage
from kasal_contracts.wire import JsonObject

from kasal_executor.event_log import Entry, numbered
from kasal_executor.states import EVENT_OF, check_transition
from kasal_executor.tables import Execution

from .texts import storable_json

MAX_LOST_LEASES = 10


@dataclass
class Change:
    """One locked execution and what is about to change about it.

    `row` belongs to no session: what is set on it is written by `storage.save` alone. `has_early` says that events
    of it wait for earlier ones. `new_status` is set when the state or the attempt changes.
    """

    row: Execution
    has_early: bool = False
    entries: list[Entry] = field(default_factory=list)
    new_status: Status | None = None

    @property
    def events(self) -> list[Event]:
        return [event for event, _ in self.entries]

    @property
    def ends(self) -> bool:
        return self.new_status is not None and self.new_status.is_end

    def log(self, events: Sequence[ChildEvent]) -> None:
        self.entries += numbered(self.row.id, self.row.attempt, events, after=self.row.last_event_id)
        self.row.last_event_id += len(events)

    def end(
        self,
        status: Status,
        *,
        error: ExecutionError | None = None,
        result: Result | None = None,
        resources: ResourceUsage | None = None,
    ) -> None:
        """Raises IllegalTransitionError; an end state never changes."""
        now = datetime.now(UTC)
        self._move(status)
        self.row.ended_at = now
        self.row.error = storable_json(error) if error else None
        self.row.result = storable_json(result) if result else None
        self.row.resource_usage = resources.model_dump() if resources else {}
        data: JsonObject = {"usage": Usage.model_validate(self.row.usage).model_dump()}
        if error:
            data["error"] = self.row.error
        self.log([ChildEvent(ts=now, type=EVENT_OF[status], data=data)])

    def cancel(self) -> None:
        self.end(Status.CANCELLED, error=ExecutionError(code=ErrorCode.CANCELLED, message="it was cancelled"))

    def lose(self) -> None:
        """The worker is gone: the next attempt waits for another one, but not for ever."""
        self.row.lost_leases += 1
        if self.row.cancel_asked_at is not None:
            self.cancel()
        elif self.row.lost_leases >= MAX_LOST_LEASES:
            words = f"{self.row.lost_leases} workers were lost while they ran it"
            self.end(Status.FAILED, error=ExecutionError(code=ErrorCode.WORKER_LOST, message=words))
        else:
            self._try_again()

    def _try_again(self) -> None:
        now = datetime.now(UTC)
        data: JsonObject = {"reason": ErrorCode.WORKER_LOST.value, "next_attempt": self.row.attempt + 1}
        self.log([ChildEvent(ts=now, type=EVENT_OF[Status.RETRYING], data=data)])
        self._move(Status.QUEUED)
        self.row.attempt += 1
        self.row.last_seq = 0
        self.row.available_at = now
        self.row.published_at = None

    def _move(self, status: Status) -> None:
        check_transition(self.row.status, status)
        self.row.status = self.new_status = status
        self.row.worker_id = None
        self.row.lease_until = None
