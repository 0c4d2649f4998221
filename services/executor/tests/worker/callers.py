"""A child's side of the broker, without a child."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from kasal_bus import open_memory
from kasal_contracts.models import ResolvedModel
from kasal_executor.worker.broker import Broker, open_broker

from .desks import Desks, open_desks
from .orders import claimed, snapshot

KEY = "sk-planted-4711-abcdef"
CHAT = "v1/chat/completions"
ASK: dict[str, Any] = {"model": "anything", "messages": [{"role": "user", "content": "Capital of France?"}]}


@dataclass
class Child:
    """A child's side: a client with the token of one attempt."""

    client: httpx.AsyncClient
    broker: Broker
    desks: Desks
    token: str

    async def ask(self, path: str = CHAT, alias: str = "test/model", **body: Any) -> httpx.Response:
        return await self.client.post(f"/llm/{quote(alias, safe='')}/{path}", json={**ASK, **body})


@asynccontextmanager
async def child_of(
    folder: Path, *models: ResolvedModel, tools: tuple[str, ...] = (), memory: str | None = None, **settings: object
) -> AsyncIterator[Child]:
    made = snapshot(*models, tools=tools, memory_identity=memory, crew_id="crew-1")
    folder.mkdir(exist_ok=True)
    async with open_memory() as bus, open_desks(folder, bus, **settings) as desks:
        desks.keys = {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY, "GEMINI_API_KEY": KEY, "DATABRICKS_TOKEN": KEY}
        async with open_broker(desks.settings, desks.host) as broker:
            with broker.admitted(claimed(made)) as token:
                async with client_of(broker, token) as client:
                    yield Child(client, broker, desks, token)


def client_of(broker: Broker, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=str(broker.path)),
        base_url="http://egress",
        headers={"Authorization": f"Bearer {token}"},
        timeout=20,
    )


def said(answer: httpx.Response) -> str:
    error = answer.json()["error"]
    assert error["code"] == "model_error"
    assert KEY not in answer.text
    return str(error["message"])


def streamed(text: str) -> str:
    frames = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"] for frame in frames for choice in frame.get("choices", [])]
    return "".join(delta.get("content") or "" for delta in deltas)
