"""`python -m benchmarks [PART …]`: all parts, or some of them without writing the report."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from . import crowds, doors, report, starts, streams
from .figures import Findings
from .installation import Installation, Servers, open_installation, open_servers

Measure = Callable[[Installation, Findings, Callable[[], None]], Awaitable[None]]


@dataclass(frozen=True)
class Part:
    title: str
    ticks: int
    measure: Measure


PARTS: Mapping[str, Part] = {
    "starts": Part("first model request", starts.WARM_UPS + starts.STARTS + starts.FRESH, starts.measure_starts),
    "ends": Part("to the end", starts.ENDS + 1, starts.measure_ends),
    "gateway": Part("gateway", 1, doors.measure_gateway),
    "acceptance": Part("acceptance", doors.ORDERS, doors.measure_acceptance),
    "crowd": Part("30 at once", 2, crowds.measure_crowd),
    "bursts": Part("bursts of 30", crowds.BURSTS, crowds.measure_bursts),
    "streams": Part("50 streams", 2, streams.measure_streams),
}


async def measure(servers: Servers, names: list[str], progress: Progress) -> Findings:
    findings = Findings()
    starting = progress.add_task("start Kasal", total=1)
    async with open_installation(servers) as kasal:
        progress.advance(starting)
        for part in (PARTS[name] for name in names):
            task = progress.add_task(part.title, total=part.ticks)
            await part.measure(kasal, findings, partial(progress.advance, task))
    return findings


def main(names: list[str]) -> None:
    console = Console(width=120)
    columns = (TextColumn("{task.description:<20}"), BarColumn(), TimeElapsedColumn())
    with open_servers() as servers, Progress(*columns, console=console) as progress:
        findings = asyncio.run(measure(servers, names or list(PARTS), progress))
    console.print(report.table_of(findings.figures))
    for step in findings.steps:
        console.print(f"{step.name:<18} {step.took_ms:6.1f} ms of {step.budget_ms:g}")
    if not names:
        report.write(findings)


if __name__ == "__main__":
    main(sys.argv[1:])
