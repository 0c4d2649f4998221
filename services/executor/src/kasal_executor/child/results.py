"""What came of each task so far."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from kasal_contracts.crew import CrewDocument
from kasal_contracts.executions import Result, TaskResult
from pydantic import JsonValue

Progress = Literal["completed", "failed", "skipped", "pending"]


@dataclass
class _Entry:
    status: Progress = "pending"
    agent: str | None = None
    output: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Ledger:
    """One entry per task of the crew, complete at any moment, so that partial results survive every kind of end."""

    def __init__(self, crew: CrewDocument) -> None:
        self._crew = crew
        self._entries = {task.key: _Entry(agent=task.agent) for task in crew.tasks}

    def start(self, task: str, agent: str | None) -> None:
        entry = self._entries[task]
        entry.agent = agent or entry.agent
        entry.started_at = datetime.now(UTC)

    def end(self, task: str, status: Progress, output: str | None = None) -> None:
        entry = self._entries[task]
        entry.status, entry.output, entry.ended_at = status, output, datetime.now(UTC)

    def fail_started(self) -> None:
        """A crew that fails leaves behind what was still running beside it."""
        for key, entry in self._entries.items():
            if entry.started_at is not None and entry.ended_at is None:
                self.end(key, "failed")

    def outputs(self) -> dict[str, str]:
        """Outputs of the tasks that ended well, in the crew's order; a skipped one is empty."""
        return {
            key: entry.output or "" for key, entry in self._entries.items() if entry.status in ("completed", "skipped")
        }

    def result(self) -> Result:
        """`text` is the last output; `json` its value where that task has a schema."""
        done = [
            (task, self._entries[task.key].output or "")
            for task in self._crew.tasks
            if self._entries[task.key].status == "completed"
        ]
        parsed: JsonValue = None
        text = None
        if done:
            last, text = done[-1]
            parsed = json.loads(text) if last.output_schema is not None else None
        return Result(text=text, json_=parsed, tasks=[self._task(key) for key in self._entries])

    def _task(self, key: str) -> TaskResult:
        entry = self._entries[key]
        return TaskResult(
            key=key,
            agent=entry.agent,
            status=entry.status,
            output=entry.output,
            started_at=entry.started_at,
            ended_at=entry.ended_at,
        )
