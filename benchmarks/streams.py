"""How long an event takes from the child that says it to a client that watches."""

import asyncio
from collections.abc import Callable, Sequence

from .api import Received
from .figures import Figure, Findings, percentile
from .installation import Installation
from .model_server import STREAMING
from .models import new_mark

WATCHED = 50
# New executions cost CPU that events then wait for; they come one after another, as they do in real life.
PACE_S = 0.15
CHUNK = "llm.chunk"

Advance = Callable[[], None]


async def measure_streams(kasal: Installation, findings: Findings, advance: Advance) -> None:
    async with asyncio.TaskGroup() as tasks:
        watching = []
        for _ in range(WATCHED):
            watching.append(tasks.create_task(_watch(kasal)))
            await asyncio.sleep(PACE_S)
        advance()
    advance()
    streams = [task.result() for task in watching]
    logged, chunks = _while_all_ran(streams)
    everything = [event.took_ms for events in streams for event in events]
    rate = f"{len(logged)} events of {WATCHED} executions"
    findings.figures += [
        Figure("Event, child → SSE client, p50", percentile(logged, 0.5), "ms", beside=rate),
        Figure("Event, child → SSE client, p99", percentile(logged, 0.99), "ms", at_most=100, beside=rate),
        Figure("Token chunk, child → SSE client, p50", percentile(chunks, 0.5), "ms", beside=f"{len(chunks)} chunks"),
        Figure("Token chunk, child → SSE client, p99", percentile(chunks, 0.99), "ms", at_most=100),
        Figure("Everything, with all starts and ends, p99", percentile(everything, 0.99), "ms"),
    ]


async def _watch(kasal: Installation) -> list[Received]:
    return await kasal.api.watch(await kasal.api.submit(STREAMING, new_mark()))


def _while_all_ran(streams: Sequence[Sequence[Received]]) -> tuple[list[float], list[float]]:
    """Milliseconds of logged events and of chunks, from the last execution's first chunk to the first one's end."""
    since = max(next(event.at for event in events if event.type == CHUNK) for events in streams)
    until = min(events[-1].at for events in streams)
    inside = [event for events in streams for event in events if since <= event.at < until]
    if not inside:
        raise RuntimeError("the executions never ran all at once")
    logged = [event.took_ms for event in inside if event.type != CHUNK]
    return logged, [event.took_ms for event in inside if event.type == CHUNK]
