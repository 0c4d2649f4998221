"""An execution as it happens, in a terminal: a line for each task, what is being said, tokens and cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kasal_contracts.events import Event, EventType
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

MARKS = {"completed": "[green]✓[/]", "failed": "[red]✗[/]", "skipped": "[dim]-[/]", "pending": "[dim]·[/]"}
SAID = 160  # characters of the newest words that are shown


@dataclass
class TaskLine:
    key: str
    state: str = "pending"
    agent: str = ""
    doing: str = ""
    started: datetime | None = None
    ended: datetime | None = None

    def took(self, now: datetime) -> str:
        if self.started is None:
            return ""
        return f"{((self.ended or now) - self.started).total_seconds():.1f} s"


@dataclass
class Progress:
    """What the events so far say. `apply` is the only way it changes."""

    title: str
    tasks: dict[str, TaskLine] = field(default_factory=dict)
    status: str = "queued"
    said: str = ""
    calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    now: datetime | None = None

    @classmethod
    def of(cls, title: str, tasks: Sequence[str]) -> "Progress":
        return cls(title, {key: TaskLine(key) for key in tasks})

    def apply(self, event: Event) -> None:
        self.now = event.ts
        if event.type.startswith("execution."):
            name = event.type.removeprefix("execution.")
            self.status = "running" if name in {"started", "resumed"} else name
        if event.task is not None:
            self._apply_to_task(self.tasks.setdefault(event.task, TaskLine(event.task)), event)
        if event.type == EventType.LLM_CHUNK:
            self.said = (self.said + str(event.data.get("text", "")))[-SAID:]
        if event.type == EventType.LLM_COMPLETED:
            self.said = ""
            self.calls += 1
            self.tokens += _number(event, "input_tokens") + _number(event, "output_tokens")
            self.cost_usd += float(str(event.data.get("cost_usd") or 0))

    def _apply_to_task(self, line: TaskLine, event: Event) -> None:
        match event.type:
            case EventType.TASK_STARTED:
                line.state, line.started, line.doing = "running", event.ts, ""
            case EventType.TASK_COMPLETED | EventType.TASK_FAILED | EventType.TASK_SKIPPED:
                line.state, line.ended, line.doing = event.type.removeprefix("task."), event.ts, ""
            case EventType.AGENT_STARTED:
                line.agent = event.agent or ""
            case EventType.LLM_STARTED:
                line.doing = f"asks {event.data.get('model', 'the model')}"
            case EventType.TOOL_STARTED:
                line.doing = f"uses {event.data.get('tool', 'a tool')}"
            case EventType.MEMORY_SEARCHED:
                line.doing = "remembers"
            case _:
                pass


def _number(event: Event, name: str) -> int:
    value = event.data.get(name)
    return int(value) if isinstance(value, int | float) else 0


def render(progress: Progress) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for line in progress.tasks.values():
        mark: RenderableType = Spinner("dots") if line.state == "running" else MARKS.get(line.state, " ")
        took = line.took(progress.now) if progress.now else ""
        table.add_row(mark, escape(line.key), f"[cyan]{escape(line.agent)}[/]", took, f"[dim]{escape(line.doing)}[/]")
    parts: list[RenderableType] = [f"[bold]{escape(progress.title)}[/]  {progress.status}", table]
    if progress.said:
        parts.append(Text(progress.said.replace("\n", " "), style="italic dim", overflow="ellipsis", no_wrap=True))
    parts.append(f"[dim]{_meter(progress)}[/]")
    return Group(*parts)


def _meter(progress: Progress) -> str:
    cost = f" · ${progress.cost_usd:.4f}" if progress.cost_usd else ""
    calls = "1 model call" if progress.calls == 1 else f"{progress.calls} model calls"
    return f"{calls} · {progress.tokens} tokens{cost}"


def live(console: Console, progress: Progress) -> Live:
    """Redraws `progress` while the context is open; without a terminal only the end is printed."""
    return Live(console=console, get_renderable=lambda: render(progress), refresh_per_second=12)


SHOWN = 100  # characters of an event's own words in a line


def summary(event: Event) -> str:
    """What an event says beyond its type, in one line."""
    data = event.data
    match event.type:
        case EventType.LLM_COMPLETED:
            tokens = _number(event, "input_tokens") + _number(event, "output_tokens")
            words = f"{data.get('model')}, {tokens} tokens, {_number(event, 'duration_ms')} ms"
        case EventType.TOOL_STARTED:
            words = f"{data.get('tool')} {data.get('arguments')}"
        case EventType.TOOL_COMPLETED:
            words = f"{data.get('tool')} → {data.get('output')}"
        case EventType.LOG:
            words = str(data.get("message", ""))
        case _:
            words = str(data.get("error") or data.get("reason") or "")
    line = " ".join(words.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
