"""How soon an execution asks its model, and how soon it is done."""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from kasal_executor.processes import environment_in

from .api import seconds
from .figures import Figure, Findings, Step, median, percentile
from .installation import Installation
from .model_server import INSTANT
from .models import new_mark

STARTS = 40
ENDS = 20
FRESH = 3
WARM_UPS = 5
# Long enough for the spare that was used up to be replaced.
REST_S = 0.7

Advance = Callable[[], None]


@dataclass(frozen=True)
class Start:
    """Seconds since the order was sent."""

    accepted: float
    claimed: float
    asked: float
    arrived: float


async def measure_starts(kasal: Installation, findings: Findings, advance: Advance) -> None:
    starts = []
    for _ in range(WARM_UPS + STARTS):
        starts.append(await _start(kasal))
        await asyncio.sleep(REST_S)
        advance()
    fresh = []
    for _ in range(FRESH):
        fresh.append(await _fresh_start(kasal))
        advance()
    starts = starts[WARM_UPS:]
    arrivals = [each.arrived * 1000 for each in starts]
    middle, plain = median(arrivals), median(fresh) * 1000
    findings.figures += [
        Figure("Order → first model request, median", middle, "ms", at_most=100, beside="from a parked spare"),
        Figure("Order → first model request, p95", percentile(arrivals, 0.95), "ms"),
        Figure("A fresh process with CrewAI → first request", plain, "ms", beside="the plain alternative"),
        Figure("Times faster than a fresh process", plain / middle, "times", at_least=30),
    ]
    findings.steps += [
        Step("accept", median([each.accepted for each in starts]) * 1000, 20),
        Step("dispatch", median([each.claimed - each.accepted for each in starts]) * 1000, 15),
        Step("claim and spare", median([each.asked - each.claimed for each in starts]) * 1000, 45),
        Step("egress", median([each.arrived - each.asked for each in starts]) * 1000, 10),
    ]


async def measure_ends(kasal: Installation, findings: Findings, advance: Advance) -> None:
    ends = []
    for _ in range(ENDS):
        sent_at = time.time()
        execution_id = await kasal.api.submit(INSTANT, new_mark())
        events = await kasal.api.watch(execution_id)
        ends.append((events[-1].received_at - sent_at) * 1000)
        await asyncio.sleep(REST_S)
        advance()
    plain = [took * 1000 for took in await _plain_crew(kasal, new_mark(), WARM_UPS + ENDS)][WARM_UPS:]
    advance()
    end, kickoff = median(ends), median(plain)
    findings.figures += [
        Figure("Order → succeeded, seen through SSE, median", end, "ms", at_most=300),
        Figure("Order → succeeded, p95", percentile(ends, 0.95), "ms"),
        Figure("Crew.kickoff() in a warm process, median", kickoff, "ms", beside="the plain alternative"),
        Figure(
            "More than a warm kickoff", end - kickoff, "ms", at_most=250, beside=f"{end / kickoff:.1f} times as long"
        ),
    ]


async def _start(kasal: Installation) -> Start:
    mark = new_mark()
    sent_at = time.time()
    execution_id = await kasal.api.submit(INSTANT, mark)
    accepted_at = time.time()
    arrived_at = await kasal.models.arrived(mark)
    await kasal.api.ended(execution_id)
    said_at = {event["type"]: seconds(event["ts"]) for event in await kasal.api.events(execution_id)}
    return Start(
        accepted=accepted_at - sent_at,
        claimed=said_at["execution.started"] - sent_at,
        asked=said_at["llm.started"] - sent_at,
        arrived=arrived_at - sent_at,
    )


async def _fresh_start(kasal: Installation) -> float:
    mark = new_mark()
    started_at = time.time()
    await _plain_crew(kasal, mark, 1)
    return await kasal.models.arrived(mark) - started_at


async def _plain_crew(kasal: Installation, mark: str, count: int) -> list[float]:
    """Seconds of each kickoff in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.plain_crew", kasal.models.url, mark, str(count)),
        env=environment_in(kasal.stack.data_dir),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError("the plain alternative failed")
    took: list[float] = json.loads(said.splitlines()[-1])
    return took
