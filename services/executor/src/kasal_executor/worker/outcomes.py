"""What became of an attempt: from the child's last words, or from the way in which it died without any."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from kasal_contracts.crew import CrewDocument
from kasal_contracts.events import ChildEvent, EventType
from kasal_contracts.executions import (
    ChildOutcome,
    ErrorCode,
    ExecutionError,
    Limits,
    ResourceUsage,
    Result,
    Status,
    TaskResult,
)
from kasal_contracts.messages import AttemptOutcome

from .child_process import ChildExit
from .holdings import StopReason
from .sizes import fitted_result

_STATUS_OF_CODE: Mapping[str, Status] = MappingProxyType(
    {ErrorCode.CANCELLED: Status.CANCELLED, ErrorCode.TIMEOUT: Status.TIMED_OUT}
)
_PROGRESS: Mapping[str, str] = MappingProxyType(
    {
        EventType.TASK_STARTED: "pending",
        EventType.TASK_COMPLETED: "completed",
        EventType.TASK_FAILED: "failed",
        EventType.TASK_SKIPPED: "skipped",
    }
)

_STOPPED: Mapping[StopReason | None, tuple[ErrorCode, str]] = MappingProxyType(
    {
        StopReason.CANCEL: (ErrorCode.CANCELLED, "The execution was cancelled."),
        StopReason.TIMEOUT: (ErrorCode.TIMEOUT, "The execution took longer than its limit of {limits.timeout_s:g} s."),
        StopReason.MEMORY: (
            ErrorCode.MEMORY_LIMIT,
            "The execution used more than its limit of {limits.memory_mb} MB of memory.",
        ),
        StopReason.CPU: (
            ErrorCode.CPU_LIMIT,
            "The execution used more than its limit of {limits.cpu_s:g} s of processor time.",
        ),
        StopReason.TOKENS: (
            ErrorCode.TOKEN_BUDGET,
            "The execution used more than its budget of {limits.max_tokens} tokens.",
        ),
        StopReason.COST: (
            ErrorCode.COST_BUDGET,
            "The execution cost more than its budget of ${limits.max_cost_usd:g}.",
        ),
    }
)
_BUDGETS = frozenset({StopReason.TOKENS, StopReason.COST})


def _amount(event: ChildEvent, name: str) -> float:
    value = event.data.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


class Progress:
    """What the tasks came to, as far as events tell: the partial result of a child that cannot say it any more."""

    def __init__(self, crew: CrewDocument) -> None:
        self._tasks = {task.key: TaskResult(key=task.key, agent=task.agent) for task in crew.tasks}
        self._text: str | None = None
        self._tokens = 0
        self._cost_usd = 0.0

    def spent_over(self, limits: Limits) -> StopReason | None:
        """Which budget is used up, if any."""
        if limits.max_tokens is not None and self._tokens > limits.max_tokens:
            return StopReason.TOKENS
        if limits.max_cost_usd is not None and self._cost_usd > limits.max_cost_usd:
            return StopReason.COST
        return None

    def note(self, event: ChildEvent) -> None:
        if event.type == EventType.LLM_COMPLETED:
            self._tokens += int(_amount(event, "input_tokens") + _amount(event, "output_tokens"))
            self._cost_usd += _amount(event, "cost_usd")
        status = _PROGRESS.get(event.type)
        known = self._tasks.get(event.task or "")
        if status is None or known is None:
            return
        changes: dict[str, object] = {"status": status, "agent": event.agent or known.agent}
        if event.type == EventType.TASK_STARTED:
            changes["started_at"] = event.ts
        else:
            output = event.data.get("output")
            changes |= {"ended_at": event.ts, "output": output if isinstance(output, str) else None}
            self._text = output if isinstance(output, str) and output else self._text
        self._tasks[known.key] = known.model_copy(update=changes)

    def result(self) -> Result:
        return Result(text=self._text, tasks=list(self._tasks.values()))


@dataclass(frozen=True)
class Ending:
    """How a child ended: what it said last, how its process ended, and why we stopped it where we did."""

    said: ChildOutcome | None
    exit: ChildExit
    reason: StopReason | None


def outcome_of(
    ending: Ending, progress: Progress, limits: Limits, *, last_seq: int, resources: ResourceUsage
) -> AttemptOutcome:
    """A child that finished before it noticed that it should stop has succeeded, but not beyond its budget."""
    error = None if _succeeded(ending) else _error(ending, limits)
    status = Status.SUCCEEDED if error is None else _STATUS_OF_CODE.get(error.code, Status.FAILED)
    said = ending.said.result if ending.said is not None else None
    result = fitted_result(said or progress.result())
    return AttemptOutcome(
        status=status, last_seq=last_seq, child=ChildOutcome(result=result, error=error), resources=resources
    )


def _succeeded(ending: Ending) -> bool:
    return ending.said is not None and ending.said.error is None and ending.reason not in _BUDGETS


def _error(ending: Ending, limits: Limits) -> ExecutionError:
    if ending.reason in _STOPPED:
        code, words = _STOPPED[ending.reason]
        return ExecutionError(code=code, message=words.format(limits=limits))
    if ending.said is not None and ending.said.error is not None:
        return ending.said.error
    return ExecutionError(code=ErrorCode.CHILD_CRASHED, message=_last_seen(ending.exit))


def _last_seen(exit_: ChildExit) -> str:
    if exit_.signal is None:
        return f"The process of the execution ended with status {exit_.code} before the crew had finished."
    hint = " The machine may have run out of memory." if exit_.signal is signal.SIGKILL else ""
    return f"The process of the execution was killed by {exit_.signal.name} before the crew had finished.{hint}"
