"""Many executions at once on one worker: what one more costs, and how many a second there can be."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .api import seconds
from .figures import Figure, Findings
from .installation import Installation
from .model_server import INSTANT, PATIENT
from .models import new_mark

CROWD = 30
BURSTS = 2
ZYGOTE = b"kasal_executor.child.zygote"
WORKER = b"kasal_cli\0worker"
KIB_PER_MIB = 1024
SETTLE_S = 2

Advance = Callable[[], None]


async def measure_crowd(kasal: Installation, findings: Findings, advance: Advance) -> None:
    await asyncio.sleep(SETTLE_S)
    before = Footprint.of(kasal.stack.process.pid)
    marks = [new_mark() for _ in range(CROWD)]
    ids = await asyncio.gather(*(kasal.api.submit(PATIENT, mark) for mark in marks))
    await asyncio.gather(*(kasal.models.arrived(mark) for mark in marks))
    advance()
    now = Footprint.of(kasal.stack.process.pid)
    ended = await asyncio.gather(*(kasal.api.ended(execution_id) for execution_id in ids))
    advance()
    findings.figures += [
        Figure("Private memory of one more execution", (now.private - before.private) / CROWD, "MiB", at_most=40),
        Figure("Its proportional share (PSS)", (now.shared - before.shared) / CROWD, "MiB"),
        Figure("Of 30 at once on one worker, succeeded", len(ended), "", at_least=CROWD),
    ]


async def measure_bursts(kasal: Installation, findings: Findings, advance: Advance) -> None:
    rates = []
    for _ in range(BURSTS):
        await asyncio.sleep(SETTLE_S)
        sent_at = time.time()
        ids = await asyncio.gather(*(kasal.api.submit(INSTANT, new_mark()) for _ in range(CROWD)))
        ended = await asyncio.gather(*(kasal.api.ended(execution_id) for execution_id in ids))
        rates.append(CROWD / (max(seconds(each["ended_at"]) for each in ended) - sent_at))
        advance()
    findings.figures.append(
        Figure("Executions a second, 30 at once on one worker", max(rates), "/s", at_least=5, beside="all succeeded")
    )


class Footprint:
    """Memory of the worker, its zygote and their children, in MiB."""

    def __init__(self, private: float, shared: float) -> None:
        self.private = private
        self.shared = shared

    @classmethod
    def of(cls, ancestor: int) -> "Footprint":
        sums = [0, 0]
        for pid in _descendants(ancestor):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if ZYGOTE not in command and WORKER not in command:
                    continue
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            sums[0] += _kib(rollup, "Private_Clean:", "Private_Dirty:")
            sums[1] += _kib(rollup, "Pss:")
        return cls(sums[0] / KIB_PER_MIB, sums[1] / KIB_PER_MIB)


def _kib(rollup: str, *names: str) -> int:
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith(names))


def _descendants(ancestor: int) -> Iterator[int]:
    for children in Path(f"/proc/{ancestor}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            yield child
            yield from _descendants(child)
