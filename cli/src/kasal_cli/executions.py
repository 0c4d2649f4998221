"""Commands about executions."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from kasal_client import Execution, Kasal, KasalApiError, KasalUnreachableError
from kasal_contracts.executions import Status
from kasal_contracts.wire import JsonObject
from kasal_runtime.logs import configure_logs
from kasal_runtime.settings import DEFAULT_DATA_DIR
from rich.table import Table

from .connecting import connected
from .console import FAILED, INTERRUPTED, MISUSED, UNREACHABLE, err, fail, out
from .live import Progress, live, summary

DataDir = Annotated[Path, typer.Option(help="Where this machine's files are kept.", envvar="KASAL_DATA_DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Id = Annotated[str, typer.Argument(help="The execution's id.")]


def run(
    crew: Annotated[str, typer.Argument(help="A crew file, or the name or id of a saved crew.")],
    inputs: Annotated[list[str] | None, typer.Option("--input", "-i", help="name=value; may be repeated.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Run a crew and watch it. The result goes to stdout; the exit code is 0 only on success."""
    configure_logs(json=False, level="error")
    with explained():
        execution = _run(crew, parse_inputs(inputs or []), data_dir, quiet=as_json)
    if as_json:
        typer.echo(execution.model_dump_json(indent=2))
    elif execution.result is not None and execution.result.text is not None:
        typer.echo(execution.result.text)
    if execution.status is not Status.SUCCEEDED:
        reason = f"{execution.error.message} ({execution.error.code})" if execution.error else "no reason was given"
        fail(f"the execution {execution.status}: {reason}")


def _run(crew: str, inputs: JsonObject, data_dir: Path, *, quiet: bool) -> Execution:
    document = read_crew_file(crew)
    with connected(data_dir, may_start=True) as kasal:
        crew_id = None if document is not None else _find_crew(kasal, crew)
        execution = kasal.executions.submit(document, crew_id=crew_id, inputs=inputs)
        try:
            _watch(kasal, execution, _task_keys(document), quiet=quiet)
        except KeyboardInterrupt:
            kasal.executions.cancel(execution.id)
            err.print(f"cancelled; `kasal logs {execution.id}` shows what was done", highlight=False)
            raise
        return kasal.executions.get(execution.id)


def _watch(kasal: Kasal, execution: Execution, tasks: list[str], *, quiet: bool) -> None:
    progress = Progress.of(execution.name, tasks)
    if quiet:
        for event in kasal.executions.stream(execution.id):
            progress.apply(event)
        return
    err.print(f"[dim]execution {execution.id}[/]", highlight=False)
    with live(err, progress):
        for event in kasal.executions.stream(execution.id):
            progress.apply(event)


def read_crew_file(crew: str) -> JsonObject | None:
    """The document in a file; `None` when `crew` is no file and so names a saved crew. Ends the command otherwise."""
    path = Path(crew)
    if not path.is_file():
        if path.suffix == ".json" or "/" in crew:
            fail(f"there is no file {crew}", code=MISUSED)
        return None
    try:
        document = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        fail(f"{crew} cannot be read as JSON: {error}", code=MISUSED)
    if not isinstance(document, dict):
        fail(f"{crew} is not a crew document; see examples/", code=MISUSED)
    return document


def parse_inputs(pairs: list[str]) -> JsonObject:
    """`name=value`; a value that is JSON is taken as such, everything else as text."""
    inputs: JsonObject = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not name or not separator:
            fail(f"--input takes name=value, not {pair!r}", code=MISUSED)
        try:
            inputs[name] = json.loads(value)
        except ValueError:
            inputs[name] = value
    return inputs


def _find_crew(kasal: Kasal, wanted: str) -> str:
    cursor = None
    while True:
        page = kasal.crews.list(limit=200, cursor=cursor)
        for crew in page.items:
            if wanted in {crew.id, crew.name}:
                return crew.id
        cursor = page.next_cursor
        if cursor is None:
            fail(f"there is no crew file and no saved crew {wanted!r}", code=MISUSED)


def _task_keys(document: JsonObject | None) -> list[str]:
    tasks = document.get("tasks") if document else None
    return (
        [str(task["key"]) for task in tasks if isinstance(task, dict) and "key" in task]
        if isinstance(tasks, list)
        else []
    )


def runs(
    limit: Annotated[int, typer.Option(help="How many.", min=1, max=200)] = 20,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List the newest executions."""
    with explained(), connected(data_dir) as kasal:
        executions = kasal.executions.list(limit=limit).items
    if as_json:
        typer.echo(json.dumps([execution.model_dump(mode="json", by_alias=True) for execution in executions], indent=2))
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("id", "crew", "status", "took", "tokens", "queued"):
        table.add_column(column, no_wrap=column == "id")
    for execution in executions:
        table.add_row(*_row(execution))
    out.print(table)


COLOURS = {Status.SUCCEEDED: "green", Status.FAILED: "red", Status.TIMED_OUT: "red", Status.RUNNING: "cyan"}


def _row(execution: Execution) -> tuple[str, ...]:
    took = execution.resource_usage.wall_s
    colour = COLOURS.get(execution.status, "yellow")
    return (
        execution.id,
        execution.name,
        f"[{colour}]{execution.status}[/]",
        f"{took:.1f} s" if took is not None else "",
        str(execution.usage.input_tokens + execution.usage.output_tokens),
        f"{execution.queued_at:%Y-%m-%d %H:%M:%S}",
    )


def logs(execution_id: Id, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Show what an execution did: its events, oldest first."""
    with explained(), connected(data_dir) as kasal:
        for event in kasal.executions.events(execution_id):
            if as_json:
                typer.echo(event.model_dump_json())
                continue
            who = " ".join(filter(None, (event.task, event.agent)))
            line = f"{event.ts:%H:%M:%S.%f} {event.type:<22} {who:<24} {summary(event)}"
            out.print(line.rstrip(), highlight=False, markup=False)
        execution = kasal.executions.get(execution_id)
    if not as_json and execution.error is not None:
        err.print(f"[red]{execution.error.code}[/]: {execution.error.message}", highlight=False)


def cancel(execution_id: Id, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Stop an execution; what its tasks have already given is kept."""
    with explained(), connected(data_dir) as kasal:
        kasal.executions.cancel(execution_id)
        execution = kasal.executions.wait(execution_id)
    out.print(f"{execution_id} {execution.status}", highlight=False)
    if execution.status is not Status.CANCELLED:
        raise typer.Exit(FAILED)


@contextmanager
def explained() -> Generator[None]:
    """Refusals, silence and Ctrl-C end a command with a sentence and its exit code."""
    try:
        yield
    except KasalApiError as error:
        fail(str(error))
    except KasalUnreachableError as error:
        fail(str(error), code=UNREACHABLE)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
