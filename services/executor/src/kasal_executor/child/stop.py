"""Why and how an execution ends early."""

import threading
from collections.abc import Callable

from kasal_contracts.executions import ErrorCode, ExecutionError

from .engine.bus import HookAborted


class ExecutionStopped(HookAborted):  # type: ignore[misc]
    """Unwinds a crew. CrewAI lets an aborted hook pass where it would retry any other exception."""

    def __init__(self, error: ExecutionError) -> None:
        super().__init__(error.message, "kasal")
        self.error = error


def stopped(code: ErrorCode, message: str) -> ExecutionStopped:
    return ExecutionStopped(ExecutionError(code=code, message=message))


class Stop:
    """Set once; from then on every step that a crew takes raises. Safe to use from threads and signal handlers."""

    def __init__(self) -> None:
        self.error: ExecutionError | None = None
        self._set = threading.Event()
        self._urgent: list[Callable[[], None]] = []

    def on_set(self, call: Callable[[], None]) -> None:
        """`call` frees threads that are blocked where they cannot notice."""
        self._urgent.append(call)

    def set(self, error: ExecutionError) -> None:
        if self.error is None:
            self.error = error
        self._set.set()
        for call in self._urgent:
            call()

    def cancel(self) -> None:
        self.set(ExecutionError(code=ErrorCode.CANCELLED, message="The execution was cancelled."))

    def check(self) -> None:
        if self.error is not None:
            raise ExecutionStopped(self.error)

    def fail(self, error: ExecutionError) -> ExecutionStopped:
        """Remember `error` as the end of the whole execution, because CrewAI may swallow what is raised in a tool."""
        self.set(error)
        return ExecutionStopped(self.error or error)

    def wait(self, seconds: float) -> None:
        """Sleep, but raise at once when set."""
        self._set.wait(seconds)
        self.check()
