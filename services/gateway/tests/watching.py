"""A client of event streams that forgets nothing."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import httpx
from httpx_sse import ServerSentEvent, aconnect_sse

LIMIT_S = 10


@dataclass
class Watcher:
    """What one connection has received so far."""

    source: AsyncGenerator[ServerSentEvent]
    seen: list[ServerSentEvent] = field(default_factory=list)

    async def take(self, count: int) -> list[ServerSentEvent]:
        async with asyncio.timeout(LIMIT_S):
            for _ in range(count):
                self.seen.append(await anext(self.source))
        return self.seen[-count:]

    async def rest(self) -> list[ServerSentEvent]:
        """Everything until the server closes."""
        async with asyncio.timeout(LIMIT_S):
            rest = [event async for event in self.source]
        self.seen.extend(rest)
        return rest

    @property
    def ids(self) -> list[int]:
        return [int(event.json()["id"]) for event in self.seen]


@asynccontextmanager
async def watching(client: httpx.AsyncClient, execution_id: str, last: int | None = None) -> AsyncGenerator[Watcher]:
    """`last` goes out as `Last-Event-ID`."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    path = f"/api/v1/execution/{execution_id}/stream"
    async with aconnect_sse(client, "GET", path, headers=headers) as source, aclosing(source.aiter_sse()) as events:
        assert source.response.status_code == 200
        # The parser makes an empty event of a comment.
        yield Watcher(event async for event in events if event.data)
