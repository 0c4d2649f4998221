import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from kasal_executor.worker.zygote import Zygote, open_zygote

from .egress import ScriptedEgress, scripted_egress

PLANTED = "planted-secret-4711"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def zygote() -> AsyncIterator[Zygote]:
    """One for all tests: it takes seconds to start. The worker around it knows a secret."""
    os.environ["KASAL_PLANTED_SECRET"] = PLANTED
    async with open_zygote(spares=2) as opened:
        async with asyncio.timeout(60):
            await opened.wait_ready()
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def egress(tmp_path: Path) -> AsyncIterator[ScriptedEgress]:
    async with scripted_egress(tmp_path / "egress.sock") as served:
        yield served
