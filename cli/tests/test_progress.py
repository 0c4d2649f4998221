import json
from datetime import UTC, datetime, timedelta

import pytest
import typer
from kasal_cli.executions import parse_inputs
from kasal_cli.live import Progress, render, summary
from kasal_contracts.events import Event
from kasal_contracts.wire import JsonObject
from rich.console import Console

START = datetime(2026, 1, 1, tzinfo=UTC)


def event(number: int, kind: str, task: str | None = None, **data: object) -> Event:
    at = START + timedelta(seconds=number)
    return Event(
        id=number,
        execution_id="e",
        attempt=1,
        ts=at,
        type=kind,
        task=task,
        agent="writer",
        data=json.loads(json.dumps(data)),
    )


def shown(progress: Progress) -> str:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(render(progress))
    return console.export_text()


def test_each_task_shows_its_state_and_how_long_it_took() -> None:
    progress = Progress.of("Brief", ["research", "write", "check"])
    for each in (
        event(1, "execution.started"),
        event(2, "task.started", "research"),
        event(5, "task.completed", "research"),
        event(6, "task.started", "write"),
        event(7, "task.failed", "write"),
        event(8, "task.skipped", "check"),
        event(9, "execution.failed"),
    ):
        progress.apply(each)
    text = shown(progress)
    assert [line.split()[0] for line in text.splitlines()[1:4]] == ["✓", "✗", "-"]
    assert "3.0 s" in text
    assert "failed" in text.splitlines()[0]


def test_tokens_and_cost_add_up() -> None:
    progress = Progress.of("Brief", [])
    for number in (1, 2):
        progress.apply(event(number, "llm.completed", "t", input_tokens=10, output_tokens=5, cost_usd=0.25))
    assert "2 model calls · 30 tokens · $0.5000" in shown(progress)


def test_what_a_model_says_cannot_format_the_terminal() -> None:
    progress = Progress.of("[red]Brief[/red]", ["[bold]t[/bold]"])
    progress.apply(event(1, "llm.chunk", "t", text="[blink]hello[/blink]"))
    text = shown(progress)
    assert "[red]Brief[/red]" in text
    assert "[blink]hello[/blink]" in text


def test_a_long_answer_is_one_short_line_in_the_log() -> None:
    line = summary(event(1, "tool.completed", "t", tool="search", output="word\n" * 500))
    assert "\n" not in line
    assert len(line) <= 100


@pytest.mark.parametrize(
    ("pairs", "inputs"),
    [
        (["topic=tea"], {"topic": "tea"}),
        (["n=3", "on=true", 'list=["a"]', "empty="], {"n": 3, "on": True, "list": ["a"], "empty": ""}),
        (["equation=a=b"], {"equation": "a=b"}),
    ],
)
def test_inputs_are_json_where_they_are_and_text_otherwise(pairs: list[str], inputs: JsonObject) -> None:
    assert parse_inputs(pairs) == inputs


@pytest.mark.parametrize("pair", ["topic", "=tea", ""])
def test_an_input_without_a_name_is_misuse(pair: str) -> None:
    with pytest.raises(typer.Exit) as ended:
        parse_inputs([pair])
    assert ended.value.exit_code == 2
