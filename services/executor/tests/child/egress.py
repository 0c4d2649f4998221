"""A model server with a script, on the socket where a child expects the worker's egress broker."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

TOKEN = "the-token-of-this-attempt"


@dataclass(frozen=True)
class Says:
    """The model answers with `text`, in pieces."""

    text: str


@dataclass(frozen=True)
class Calls:
    """The model wants a tool."""

    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Refuses:
    """The broker answers with an error of its own."""

    status: int
    code: str
    message: str


@dataclass(frozen=True)
class Hangs:
    """No answer ever comes. With `after`, that much text comes first."""

    after: str = ""


Reply = Says | Calls | Refuses | Hangs
Script = Callable[[list[dict[str, Any]]], Reply]


@dataclass
class ScriptedEgress:
    path: Path
    script: Script = lambda _: Says("All done.")
    requests: list[dict[str, Any]] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    remembered: list[dict[str, Any]] = field(default_factory=list)
    fetched: list[dict[str, Any]] = field(default_factory=list)
    memories: list[str] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    def prompts(self) -> list[str]:
        return [text_of(request["messages"]) for request in self.requests]

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.arrivals.append(asyncio.get_running_loop().time())
        body = await request.json()
        self.requests.append(body)
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        reply = self.script(body["messages"])
        self.asked.set()
        if isinstance(reply, Refuses):
            error = {"error": {"code": reply.code, "message": reply.message}}
            return web.json_response(error, status=reply.status)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in chunks(reply):
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
        if isinstance(reply, Hangs):
            await self.closing.wait()
            return response
        await response.write(b"data: [DONE]\n\n")
        return response

    async def message(self, request: web.Request) -> web.StreamResponse:
        """Anthropic's protocol, for an answer in words or a refusal."""
        assert request.headers["x-api-key"] == TOKEN
        body = await request.json()
        self.requests.append(body)
        reply = self.script(body["messages"])
        if isinstance(reply, Refuses):
            error = {"error": {"code": reply.code, "message": reply.message}}
            return web.json_response(error, status=reply.status)
        assert isinstance(reply, Says)
        usage = {"input_tokens": 10, "output_tokens": 0}
        message = {"id": "1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": reply.text}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
            {"type": "message_stop"},
        ]
        text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        return web.Response(text=text, content_type="text/event-stream")

    async def generate(self, request: web.Request) -> web.StreamResponse:
        """Google's protocol, for an answer in words or a refusal."""
        assert request.headers["x-goog-api-key"] == TOKEN
        body = await request.json()
        self.requests.append(body)
        reply = self.script([])
        if isinstance(reply, Refuses):
            error = {"error": {"code": reply.code, "message": reply.message}}
            return web.json_response(error, status=reply.status)
        assert isinstance(reply, Says)
        chunk = {
            "candidates": [{"content": {"role": "model", "parts": [{"text": reply.text}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15},
        }
        return web.Response(text=f"data: {json.dumps(chunk)}\n\n", content_type="text/event-stream")

    async def search(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        items = [{"record": record(text), "score": 0.9} for text in self.memories[: wanted["top_k"]]]
        return web.json_response({"items": items})

    async def remember(self, request: web.Request) -> web.Response:
        self.remembered.append(await request.json())
        return web.json_response({}, status=201)

    async def fetch(self, request: web.Request) -> web.Response:
        self.fetched.append(await request.json())
        return web.json_response({"status": 200, "headers": {}, "body": "aGVsbG8=", "truncated": False})


def chunks(reply: Says | Calls | Hangs) -> list[dict[str, Any]]:
    base = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "scripted"}
    deltas: list[dict[str, Any]]
    match reply:
        case Says(text):
            deltas = [{"content": word} for word in text.replace(" ", " \0").split("\0")]
        case Calls(tool, arguments):
            function = {"name": tool, "arguments": json.dumps(arguments)}
            deltas = [{"tool_calls": [{"index": 0, "id": "call", "type": "function", "function": function}]}]
        case Hangs(after):
            return [{**base, "choices": [{"index": 0, "delta": {"content": after}, "finish_reason": None}]}]
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    said = [{**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    stop = {"index": 0, "delta": {}, "finish_reason": "stop"}
    return [*said, {**base, "choices": [stop]}, {**base, "choices": [], "usage": usage}]


def record(text: str) -> dict[str, Any]:
    at = "2026-01-01T00:00:00Z"
    return {
        "id": "r1",
        "group_id": "g",
        "crew_id": None,
        "kind": "short_term",
        "agent": None,
        "session_id": None,
        "text": text,
        "entity": None,
        "metadata": {},
        "created_by": "u",
        "created_at": at,
        "updated_at": at,
    }


def text_of(messages: list[dict[str, Any]]) -> str:
    return "\n".join(str(message.get("content") or "") for message in messages)


def tool_results(messages: list[dict[str, Any]]) -> list[str]:
    return [str(message["content"]) for message in messages if message["role"] == "tool"]


@asynccontextmanager
async def scripted_egress(path: Path) -> AsyncIterator[ScriptedEgress]:
    egress = ScriptedEgress(path)
    app = web.Application()
    app.router.add_post("/llm/{alias}/v1/chat/completions", egress.complete)
    app.router.add_post("/llm/{alias}/v1/messages", egress.message)
    app.router.add_post("/llm/{alias}/v1beta/models/{call}", egress.generate)
    app.router.add_post("/memory/search", egress.search)
    app.router.add_post("/memory/records", egress.remember)
    app.router.add_post("/tools/http", egress.fetch)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    try:
        yield egress
    finally:
        egress.closing.set()
        await runner.cleanup()
