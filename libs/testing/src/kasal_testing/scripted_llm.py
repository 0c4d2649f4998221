"""A real HTTP server that speaks the protocols of model providers and says what a test or benchmark told it to say.

async with ScriptedLlm(Text("Paris."), ToolCall("calculator", {"expression": "1 + 1"})) as llm:
    ...  # base_url=llm.url; the first request is answered with the first answer, the last one stays
    assert llm.requests[0].body["model"] == "gpt-5-mini"
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Any, Self

from aiohttp import web

Json = dict[str, Any]
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


@dataclass(frozen=True)
class Text:
    """`delay_s` goes before the first byte, `pause_s` before every word of a stream."""

    text: str
    delay_s: float = 0
    pause_s: float = 0
    usage: Mapping[str, int] = field(default_factory=lambda: USAGE)


@dataclass(frozen=True)
class ToolCall:
    name: str
    arguments: Json = field(default_factory=dict)
    delay_s: float = 0


@dataclass(frozen=True)
class Refuse:
    """An answer with an error status, such as 401 or 429."""

    status: int
    body: str = '{"error": {"message": "no"}}'
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Garbage:
    """Status 200 and something that is no completion."""

    body: str = "<html>It works!</html>"
    content_type: str = "text/html"


@dataclass(frozen=True)
class Hang:
    """No byte, until the client goes away."""


@dataclass(frozen=True)
class Break:
    """Cuts the connection, in a stream after `words` words."""

    words: int = 0


@dataclass(frozen=True)
class Whole:
    """A completion in one piece even where a stream was asked for, as simple servers do."""

    text: str


Answer = Text | ToolCall | Refuse | Garbage | Hang | Break | Whole
Script = Callable[["Seen"], Answer]


@dataclass(frozen=True)
class Seen:
    """One request. `arrived_at` is on the monotonic clock; `hash` is of the body's canonical JSON."""

    path: str
    query: str
    headers: Mapping[str, str]
    body: Json
    hash: str
    arrived_at: float


class ScriptedLlm:
    """Use it as an async context manager. `script` may be a function that chooses an answer for each request."""

    def __init__(self, *answers: Answer, script: Script | None = None) -> None:
        self.requests: list[Seen] = []
        self.gone = asyncio.Event()
        self._answers = answers or (Text("Done."),)
        self._script = script
        self._arrived = asyncio.Condition()
        self._stack = AsyncExitStack()
        self._port = 0

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The `base_url` of an OpenAI-compatible model."""
        return f"{self.origin}/v1"

    async def __aenter__(self) -> Self:
        runner = web.ServerRunner(web.Server(self._handle, handler_cancellation=True), shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._port = runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def asked(self, times: int = 1, *, within_s: float = 10) -> None:
        """Wait until that many requests have arrived. Raises TimeoutError."""
        async with asyncio.timeout(within_s), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= times)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        seen = await _seen(request)
        answer = self._script(seen) if self._script else self._answers[min(len(self.requests), len(self._answers) - 1)]
        async with self._arrived:
            self.requests.append(seen)
            self._arrived.notify_all()
        try:
            return await _answered(request, seen, answer)
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise


async def _seen(request: web.BaseRequest) -> Seen:
    raw = await request.read()
    body = json.loads(raw) if raw else {}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return Seen(
        path=request.path,
        query=request.query_string,
        headers=dict(request.headers),
        body=body,
        hash=hashlib.sha256(canonical).hexdigest(),
        arrived_at=monotonic(),
    )


async def _answered(request: web.BaseRequest, seen: Seen, answer: Answer) -> web.StreamResponse:
    match answer:
        case Refuse():
            return web.Response(
                status=answer.status, text=answer.body, content_type="application/json", headers=answer.headers
            )
        case Garbage():
            return web.Response(text=answer.body, content_type=answer.content_type)
        case Hang():
            await asyncio.Event().wait()
        case Whole():
            return web.json_response(_whole(seen, {"role": "assistant", "content": answer.text}, "stop", USAGE))
        case Break():
            return await _broken(request, seen, answer)
        case Text():
            await asyncio.sleep(answer.delay_s)
            return await _said(request, seen, answer)
        case ToolCall():
            await asyncio.sleep(answer.delay_s)
            return await _called(request, seen, answer)
    raise ConnectionResetError


async def _broken(request: web.BaseRequest, seen: Seen, answer: Break) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    if answer.words:
        await response.prepare(request)
    for _ in range(answer.words):
        await _delta(response, seen, {"content": "word "})
    if request.transport is not None:
        request.transport.close()
    return response


async def _said(request: web.BaseRequest, seen: Seen, answer: Text) -> web.StreamResponse:
    if seen.body.get("stream"):
        words = [{"content": word} for word in answer.text.split(" ")]
        spaced = [{"content": f" {word['content']}"} if index else word for index, word in enumerate(words)]
        return await _stream(request, seen, spaced, "stop", answer.usage, pause_s=answer.pause_s)
    if seen.path.endswith("/messages"):
        return web.json_response({"type": "message", "content": [{"type": "text", "text": answer.text}]})
    if "/v1beta/" in seen.path:
        return web.json_response({"candidates": [{"content": {"parts": [{"text": answer.text}], "role": "model"}}]})
    return web.json_response(_whole(seen, {"role": "assistant", "content": answer.text}, "stop", answer.usage))


async def _called(request: web.BaseRequest, seen: Seen, answer: ToolCall) -> web.StreamResponse:
    function = {"name": answer.name, "arguments": json.dumps(answer.arguments)}
    call = {"id": f"call_{seen.hash[:8]}", "type": "function", "function": function}
    if seen.body.get("stream"):
        return await _stream(request, seen, [{"tool_calls": [{"index": 0, **call}]}], "tool_calls", USAGE)
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return web.json_response(_whole(seen, message, "tool_calls", USAGE))


def _whole(seen: Seen, message: Json, reason: str, usage: Mapping[str, int]) -> Json:
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {**_common(seen, "chat.completion"), "choices": [choice], "usage": dict(usage)}


def _common(seen: Seen, kind: str) -> Json:
    return {"id": "chatcmpl-test", "object": kind, "created": 0, "model": seen.body.get("model", "")}


async def _stream(
    request: web.BaseRequest,
    seen: Seen,
    deltas: Sequence[Json],
    reason: str,
    usage: Mapping[str, int],
    *,
    pause_s: float = 0,
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    common = _common(seen, "chat.completion.chunk")
    for delta in deltas:
        await asyncio.sleep(pause_s)
        await _delta(response, seen, delta)
    await _frame(response, {**common, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    await _frame(response, {**common, "choices": [], "usage": dict(usage)})
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


async def _delta(response: web.StreamResponse, seen: Seen, delta: Json) -> None:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    await _frame(response, {**_common(seen, "chat.completion.chunk"), "choices": [choice]})


async def _frame(response: web.StreamResponse, data: Json) -> None:
    await response.write(f"data: {json.dumps(data)}\n\n".encode())
