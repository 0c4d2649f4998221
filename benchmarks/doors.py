"""What the way in costs: the gateway, and the acceptance of an order."""

import asyncio
import time
from collections.abc import Callable

from .figures import Figure, Findings, median, percentile
from .installation import Installation
from .model_server import INSTANT
from .models import new_mark

PAIRS = 300
WARM_UPS = 20
ORDERS = 40
PACE_S = 0.4

Advance = Callable[[], None]


async def measure_gateway(kasal: Installation, findings: Findings, advance: Advance) -> None:
    """The same small answer by turns through the gateway and from the service behind it."""
    path = f"/api/v1/crews/{kasal.api.crews[INSTANT]}"
    through, straight = [], []
    for _ in range(WARM_UPS + PAIRS):
        through.append(await _get(kasal, path, kasal.api.url))
        straight.append(await _get(kasal, path, kasal.direct))
    advance()
    through, straight = through[WARM_UPS:], straight[WARM_UPS:]
    middle, plain = median(through), median(straight)
    findings.figures += [
        Figure(
            "A small GET through the gateway, median", middle, "ms", beside=f"p99 {percentile(through, 0.99):.1f} ms"
        ),
        Figure("The same, straight from the service", plain, "ms", beside=f"p99 {percentile(straight, 0.99):.1f} ms"),
        Figure("The gateway adds", middle - plain, "ms", beside=f"{middle / plain:.1f} times as long"),
    ]


async def measure_acceptance(kasal: Installation, findings: Findings, advance: Advance) -> None:
    """Orders at a steady pace, whatever the earlier ones are doing."""
    took, ids = [], []
    for _ in range(ORDERS):
        started = time.perf_counter()
        ids.append(await kasal.api.submit(INSTANT, new_mark()))
        took.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(PACE_S)
        advance()
    await asyncio.gather(*(kasal.api.ended(execution_id) for execution_id in ids))
    pace = f"{1 / PACE_S:g} orders a second"
    findings.figures += [
        Figure("An order is accepted, p50", percentile(took, 0.5), "ms", at_most=20, beside=pace),
        Figure("An order is accepted, p99", percentile(took, 0.99), "ms", beside=pace),
    ]


async def _get(kasal: Installation, path: str, origin: str) -> float:
    started = time.perf_counter()
    await kasal.api.call("GET", path, origin=origin)
    return (time.perf_counter() - started) * 1000
