"""Kasal's public API as the benchmarks use it."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp

from .model_server import INSTANT, PATIENT, STREAMING

EMAIL = "bench@example.org"
PASSWORD = "a-password-for-benchmarks"
Json = dict[str, Any]


@dataclass(frozen=True)
class Received:
    """An event with the time at which the client had it. Both times are on the wall clock of this machine."""

    type: str
    at: float
    received_at: float

    @property
    def took_ms(self) -> float:
        return (self.received_at - self.at) * 1000


class Api:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.url = url
        self.crews: dict[str, str] = {}
        self._session = session

    async def call(self, method: str, path: str, body: Json | None = None, origin: str | None = None) -> Json:
        """Raises RuntimeError for a refusal."""
        async with self._session.request(method, f"{origin or self.url}{path}", json=body) as answer:
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {answer.status} {await answer.text()}")
            found: Json = await answer.json()
            return found

    async def log_in(self) -> None:
        tokens = await self.call("POST", "/api/v1/auth/login", {"email": EMAIL, "password": PASSWORD})
        self._session.headers["Authorization"] = f"Bearer {tokens['access_token']}"

    async def furnish(self, model_url: str) -> None:
        """One model for each way to answer, and a crew for each model."""
        for kind in (INSTANT, PATIENT, STREAMING):
            model = {"name": f"bench/{kind}", "provider": "openai_compatible", "model": kind, "base_url": model_url}
            await self.call("POST", "/api/v1/models", model)
            crew = await self.call("POST", "/api/v1/crews", crew_document(kind))
            self.crews[kind] = crew["id"]

    async def submit(self, kind: str, mark: str) -> str:
        order: Json = {"crew_id": self.crews[kind], "inputs": {"who": mark}}
        execution = await self.call("POST", "/api/v1/execution", order)
        return str(execution["id"])

    async def ended(self, execution_id: str) -> Json:
        """The execution once it has succeeded. Raises RuntimeError for any other end."""
        while True:
            execution = await self.call("GET", f"/api/v1/execution/{execution_id}")
            if execution["ended_at"]:
                if execution["status"] != "succeeded":
                    raise RuntimeError(f"an execution {execution['status']}: {execution['error']}")
                return execution
            await asyncio.sleep(0.05)

    async def events(self, execution_id: str) -> list[Json]:
        page = await self.call("GET", f"/api/v1/execution/{execution_id}/events?limit=200")
        events: list[Json] = page["items"]
        return events

    async def watch(self, execution_id: str) -> list[Received]:
        """Every event of the stream until it closes, with the time of its arrival."""
        async with self._session.get(f"{self.url}/api/v1/execution/{execution_id}/stream") as stream:
            frames = [(time.time(), line) async for line in stream.content if line.startswith(b"data: ")]
        return [_received(at, line) for at, line in frames]


def crew_document(kind: str) -> Json:
    tasks = 5 if kind == STREAMING else 1
    agent = {"key": "greeter", "role": "Greeter", "goal": "Greet people", "backstory": "You are polite."}
    return {
        "name": f"Greeting ({kind})",
        "agents": [{**agent, "model": f"bench/{kind}"}],
        "tasks": [
            {"key": f"greet_{n}", "description": "Greet {who}", "expected_output": "A greeting", "agent": "greeter"}
            for n in range(tasks)
        ],
        "inputs": {"who": {"default": "everybody"}},
    }


def seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def _received(at: float, line: bytes) -> Received:
    event = json.loads(line.removeprefix(b"data: "))
    return Received(type=event["type"], at=seconds(event["ts"]), received_at=at)


@asynccontextmanager
async def open_api(url: str) -> AsyncGenerator[Api]:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=2**20) as session:
        yield Api(session, url)
