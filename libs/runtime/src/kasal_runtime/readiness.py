"""`/readyz`: asks every dependency, in parallel, and names the one that does not answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from kasal_bus.bus import BusUnavailableError
from kasal_contracts.errors import KasalError
from pydantic import BaseModel

Check = Callable[[], Awaitable[None]]
LIMIT_S = 3


class Readiness(BaseModel):
    """`checks` maps each dependency to `ok` or to a sentence that says what is wrong."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str]


async def readiness(checks: Mapping[str, Check]) -> Readiness:
    answers = await asyncio.gather(*(_ask(name, check) for name, check in checks.items()))
    good = all(answer == "ok" for answer in answers)
    return Readiness(status="ok" if good else "unavailable", checks=dict(zip(checks, answers, strict=True)))


async def _ask(name: str, check: Check) -> str:
    try:
        async with asyncio.timeout(LIMIT_S):
            await check()
    except TimeoutError:
        return f"{name} did not answer within {LIMIT_S} s"
    except KasalError as error:
        return error.detail
    except BusUnavailableError:
        return "the message broker does not answer"
    return "ok"
