"""The findings for people: a table for the terminal, a page and a picture for the documentation."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from .figures import Figure, Findings, Step

DOCS = Path(__file__).parent.parent / "docs"
PICTURE = "benchmarks.svg"
VERDICTS = {True: "✓", False: "✗", None: ""}

WIDTH, LEFT, BAR, GAP = 760, 150, 22, 14
COLOURS = ("#3b6fd4", "#2a9d8f", "#8a5cd1", "#d97706")
STYLE = "font: 13px system-ui, sans-serif; fill: #6b7280"


def table_of(figures: Sequence[Figure]) -> Table:
    table = Table(title="Kasal, measured", title_justify="left")
    for column in ("", "measured", "budget", "", "beside"):
        table.add_column(column, justify="right" if column in {"measured", "budget"} else "left", no_wrap=True)
    for figure in figures:
        style = "red" if figure.is_kept is False else None
        table.add_row(*_cells(figure), style=style)
    return table


def write(findings: Findings) -> None:
    (DOCS / PICTURE).write_text(picture(findings.steps))
    (DOCS / "benchmarks.md").write_text(page(findings))


def page(findings: Findings) -> str:
    rows = "\n".join(f"| {' | '.join(_cells(figure))} |" for figure in findings.figures)
    steps = "\n".join(f"| {step.name} | {step.took_ms:.0f} ms | {step.budget_ms:g} ms |" for step in findings.steps)
    return f"""# Speed

`make bench` starts all of Kasal with one worker on PostgreSQL and RabbitMQ, beside a model server that answers at once,
and the plain alternative to compare with, on the same machine and in the same minutes. Absolute times differ from
machine to machine; ratios differ less.

Measured on {machine()}.

## From an order to its first model request

![Each step beside its budget]({PICTURE})

| step | median | budget |
|---|--:|--:|
{steps}

*accept* ends with the answer 202, *dispatch* with the claim by a worker, *claim and spare* when the crew calls its
model in a process of its own, *egress* when the request is at the model server.

## All figures

| | measured | budget | | beside |
|---|--:|--:|---|---|
{rows}

A *fresh process* is started for one execution, imports CrewAI and makes the same request. A *warm kickoff* calls
`Crew.kickoff()` of the same crew in a process that has done so before, with neither isolation nor events nor a queue.
Private memory is what an execution adds to the worker, its zygote and all their children together
(`smaps_rollup`), divided by the number of executions. Times of events compare the child's clock with the client's,
which are the same clock here, while all executions run.
"""


def picture(steps: Sequence[Step]) -> str:
    """Horizontal bars, one after the other as the time passes; the outline is the budget."""
    scale = (WIDTH - LEFT - 90) / max(sum(step.took_ms for step in steps), sum(step.budget_ms for step in steps))
    bars, at = [], 0.0
    for index, step in enumerate(steps):
        x, y = LEFT + at * scale, index * (BAR + GAP) + 10
        width, allowed = max(step.took_ms, 0.5) * scale, step.budget_ms * scale
        bars.append(
            f'<text x="{LEFT - 10}" y="{y + 16}" text-anchor="end" style="{STYLE}">{step.name}</text>'
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" rx="3" fill="{COLOURS[index]}"/>'
            f'<rect x="{x:.1f}" y="{y}" width="{allowed:.1f}" height="{BAR}" rx="3" fill="none" stroke="#9ca3af"'
            f' stroke-dasharray="3 3"/>'
            f'<text x="{x + max(width, allowed) + 8:.1f}" y="{y + 16}" style="{STYLE}">{step.took_ms:.0f} ms</text>'
        )
        at += step.took_ms
    height = len(steps) * (BAR + GAP) + 14
    title = "Milliseconds from an order to its first model request; dashed: the budget"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">'
        f"<title>{title}</title>{''.join(bars)}</svg>\n"
    )


def machine() -> str:
    model = next((line for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "").partition(":")[2]
    memory = int(_lines("/proc/meminfo")[0].split()[1]) / 2**20
    cores = len(os.sched_getaffinity(0))
    return (
        f"{cores} cores of {model.strip() or platform.machine()}, {memory:.0f} GiB of memory, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )


def _cells(figure: Figure) -> tuple[str, ...]:
    digits = 0 if figure.value >= 100 or not figure.unit else 1
    value = f"{figure.value:,.{digits}f} {figure.unit}".strip()
    return figure.name, value, figure.budget, VERDICTS[figure.is_kept], figure.beside


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
