"""What becomes of an attempt, however its child ends."""

import signal
from datetime import UTC, datetime

from kasal_contracts.events import ChildEvent, EventType
from kasal_contracts.executions import (
    ChildOutcome,
    ErrorCode,
    ExecutionError,
    Limits,
    ResourceUsage,
    Result,
    Status,
)
from kasal_contracts.messages import AttemptOutcome
from kasal_executor.worker.child_process import ChildExit
from kasal_executor.worker.holdings import StopReason
from kasal_executor.worker.outcomes import Ending, Progress, outcome_of

from .orders import model, snapshot

CLEAN = ChildExit(code=0, signal=None, cpu_s=0.1, max_private_mib=20)
KILLED = ChildExit(code=None, signal=signal.SIGSEGV, cpu_s=0.1, max_private_mib=20)


def outcome(
    said: ChildOutcome | None, exit_: ChildExit = CLEAN, reason: StopReason | None = None, *, done: int = 0
) -> AttemptOutcome:
    progress = Progress(snapshot(model(), tasks=3).crew)
    for number in range(1, done + 1):
        for type_, data in ((EventType.TASK_STARTED, {}), (EventType.TASK_COMPLETED, {"output": f"text {number}"})):
            progress.note(ChildEvent(ts=datetime.now(UTC), type=type_, task=f"task{number}", agent="writer", data=data))
    ending = Ending(said, exit_, reason)
    return outcome_of(ending, progress, Limits(timeout_s=9), last_seq=4, resources=ResourceUsage(wall_s=1))


def failed(code: str) -> ChildOutcome:
    return ChildOutcome(result=Result(text="part"), error=ExecutionError(code=code, message="It went wrong."))


def test_a_child_that_says_so_has_succeeded() -> None:
    ended = outcome(ChildOutcome(result=Result(text="Paris")))

    assert (ended.status, ended.child.error, ended.child.result) == (Status.SUCCEEDED, None, Result(text="Paris"))
    assert (ended.last_seq, ended.resources.wall_s) == (4, 1)


def test_the_code_of_a_child_that_failed_is_kept() -> None:
    ended = outcome(failed(ErrorCode.MODEL_ERROR))

    assert ended.status == Status.FAILED
    assert ended.child.error == ExecutionError(code="model_error", message="It went wrong.")


def test_a_child_that_crashed_leaves_the_signal_and_the_outputs_of_its_tasks() -> None:
    ended = outcome(None, KILLED, done=2)

    assert ended.status == Status.FAILED
    assert ended.child.error is not None
    assert ended.child.error.code == "child_crashed"
    assert "SIGSEGV" in ended.child.error.message
    assert ended.child.result is not None
    assert [(task.status, task.output) for task in ended.child.result.tasks] == [
        ("completed", "text 1"),
        ("completed", "text 2"),
        ("pending", None),
    ]
    assert ended.child.result.text == "text 2"


def test_a_child_that_was_stopped_ends_for_the_reason_it_was_stopped_for() -> None:
    cancelled = outcome(failed(ErrorCode.CANCELLED), CLEAN, StopReason.CANCEL)
    too_slow = outcome(None, KILLED, StopReason.TIMEOUT)

    assert cancelled.status == Status.CANCELLED
    assert cancelled.child.result == Result(text="part")
    assert too_slow.status == Status.TIMED_OUT
    assert too_slow.child.error == ExecutionError(
        code="timeout", message="The execution took longer than its limit of 9 s."
    )


def test_a_child_that_finished_before_it_noticed_the_cancel_has_succeeded() -> None:
    assert outcome(ChildOutcome(result=Result(text="x")), CLEAN, StopReason.CANCEL).status == Status.SUCCEEDED
