"""The model server as a benchmark sees it: an address, and when each request arrived there."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import uuid4

from kasal_testing.stacks import clean_environment


def new_mark() -> str:
    """A word that a crew takes along to its model, to know its request by."""
    return f"mark-{uuid4().hex}"


class ModelServer:
    """`arrived` waits for the first request that carries a mark; its time is on the wall clock."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._arrivals: dict[str, asyncio.Future[float]] = {}

    async def arrived(self, mark: str) -> float:
        async with asyncio.timeout(60):
            return await asyncio.shield(self._arrival(mark))

    async def follow(self, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            request = json.loads(line)
            arrival = self._arrival(request["mark"])
            if not arrival.done():
                arrival.set_result(request["arrived_at"])

    def _arrival(self, mark: str) -> asyncio.Future[float]:
        return self._arrivals.setdefault(mark, asyncio.get_running_loop().create_future())


@asynccontextmanager
async def open_model_server() -> AsyncGenerator[ModelServer]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.model_server"),
        env=clean_environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    server = ModelServer(json.loads(await process.stdout.readline())["url"])
    following = asyncio.create_task(server.follow(process.stdout))
    try:
        yield server
    finally:
        process.stdin.close()
        await process.wait()
        await following
