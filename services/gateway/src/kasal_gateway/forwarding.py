"""Requests travel on to the service that owns their path; bodies stream in both directions and are never held whole."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from urllib.parse import quote

import aiohttp
from kasal_contracts.errors import KasalError, NotFoundError
from kasal_runtime.peers import Peer, PeerUnavailableError
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from .door import Admission

PREFIXES: Mapping[str, frozenset[str]] = {
    "auth": frozenset({"auth", "users", "groups", "api-keys", "audit"}),
    "crews": frozenset({"crews", "agents", "tasks", "plans", "templates", "models", "tools", "mcp-servers", "config"}),
    "executor": frozenset(
        {"execution", "files", "workers", "triggers", "hooks", "webhooks", "schedules", "chat", "usage"}
    ),
    "memory": frozenset({"memory"}),
}
OWNERS = {f"/api/v1/{prefix}": service for service, prefixes in PREFIXES.items() for prefix in prefixes}
JWKS = "/.well-known/jwks.json"

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""RFC 9110, section 7.6.1."""
# Set anew on the way on, or meant for us alone.
CONSUMED = frozenset(
    {"authorization", "expect", "forwarded", "host", "traceparent", "x-group-id", "x-real-ip", "x-request-id"}
)
# What a client says about itself under these names must not look as if we had said it.
SPOOFABLE = ("x-forwarded-", "x-kasal-")
PATH_SAFE = "/:@!$&'()*+,;=~"
SMALL = 64 * 1024


class SlowRequestError(KasalError):
    status = 408
    title = "The request took too long"


class Upload:
    """The body of a request, read from the client as the service takes it. Each piece moves `deadline` on."""

    def __init__(self, receive: Receive, deadline: asyncio.Timeout, patience: timedelta) -> None:
        self._receive = receive
        self._deadline = deadline
        self._patience_s = patience.total_seconds()
        self.complete = False
        self.abandoned = False

    async def body(self) -> bytes | AsyncGenerator[bytes] | None:
        """A body that came in one piece as it is, a longer one as a stream."""
        first = await self._read()
        if self.complete:
            return first or None
        return self._rest(first)

    async def _rest(self, first: bytes) -> AsyncGenerator[bytes]:
        yield first
        while not self.complete:
            yield await self._read()

    async def _read(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.abandoned = True
            raise ClientDisconnect
        self.complete = not message.get("more_body", False)
        # The answer may come before the body's end; from then on its own silence counts.
        with suppress(RuntimeError):
            self._deadline.reschedule(asyncio.get_running_loop().time() + self._patience_s)
        body: bytes = message.get("body", b"")
        return body


class Forwarder:
    """An ASGI application. `patience` is how long nothing may move in either direction."""

    def __init__(self, peer: Callable[[str], Peer], patience: timedelta) -> None:
        self.peer = peer
        self.patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer = self.peer(owner_of(scope["path"]))
        async with AsyncExitStack() as stack:
            answer = await self._asked(peer, scope, receive, stack)
            if answer is not None:
                await (await relayed(answer))(scope, receive, send)

    async def _asked(
        self, peer: Peer, scope: Scope, receive: Receive, stack: AsyncExitStack
    ) -> aiohttp.ClientResponse | None:
        """The head of the peer's answer; `None` when the client went away in the middle of its request."""
        loop = asyncio.get_running_loop()
        deadline = asyncio.timeout_at(loop.time() + self.patience.total_seconds())
        upload = Upload(receive, deadline, self.patience)
        try:
            async with deadline:
                opened = peer.open(
                    scope["method"],
                    target_of(scope),
                    token=_token_of(scope),
                    headers=onward_headers(scope),
                    body=await upload.body(),
                    silence=self.patience,
                )
                return await stack.enter_async_context(opened)
        except TimeoutError as error:
            if upload.complete:
                raise PeerUnavailableError(peer.service) from error
            raise SlowRequestError("nothing of the request's body came for a while") from error
        except (ClientDisconnect, PeerUnavailableError):
            if upload.abandoned:
                return None
            raise


def owner_of(path: str) -> str:
    """The service that answers `path`. Raises NotFoundError."""
    if path == JWKS:
        return "auth"
    owner = OWNERS.get("/".join(path.split("/", 4)[:4]))
    if owner is None:
        raise NotFoundError("path", path)
    return owner


def target_of(scope: Scope) -> str:
    """The decoded path encoded anew, so that the service reads the very path that was checked here."""
    path = quote(scope["path"].removesuffix("/"), safe=PATH_SAFE)
    query = scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


def onward_headers(scope: Scope) -> dict[str, str]:
    dropped = HOP_BY_HOP | CONSUMED | _named_by_connection(scope)
    kept: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name not in dropped and not name.startswith(SPOOFABLE):
            kept[name] = f"{kept[name]}, {value}" if name in kept else value
    if scope.get("client"):
        kept["x-forwarded-for"] = scope["client"][0]
    return kept


def _named_by_connection(scope: Scope) -> frozenset[str]:
    """What the client calls meant for this hop alone."""
    listed = Headers(scope=scope).get("connection", "")
    return frozenset(name.strip().lower() for name in listed.split(","))


async def relayed(answer: aiohttp.ClientResponse) -> Response:
    """A small answer in one piece, because that is quicker; any other as it comes."""
    length = answer.content_length
    if length is not None and length <= SMALL:
        response = Response(await answer.read(), answer.status)
    else:
        response = StreamingResponse(answer.content.iter_any(), answer.status)
    lowered = ((name.lower(), value) for name, value in answer.raw_headers)
    response.raw_headers = [(name, value) for name, value in lowered if name.decode("latin-1") not in HOP_BY_HOP]
    return response


def _token_of(scope: Scope) -> str | None:
    admission = scope.get("state", {}).get("admission")
    return admission.token if isinstance(admission, Admission) else None
