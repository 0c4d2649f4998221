"""Calls from one service to another: one client for Unix sockets and URLs, so that streaming behaves alike."""

import json
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeVar

import aiohttp
from kasal_contracts.errors import KasalError, UnavailableError
from kasal_contracts.problems import Problem
from pydantic import BaseModel, JsonValue, ValidationError

from .context import request_id, traceparent

Model = TypeVar("Model", bound=BaseModel)
UNIX = "unix:"
CONNECT_S = 5
# What we pass on is what the caller sent: the client adds nothing of its own.
NOT_ADDED = ("Accept-Encoding", "Content-Type", "User-Agent")


class PeerUnavailableError(UnavailableError):
    def __init__(self, service: str) -> None:
        super().__init__(f"the {service} service does not answer")


class PeerRefusedError(KasalError):
    """A peer answered with a problem; its status and words are kept."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title, errors=problem.errors or ())
        self.status = problem.status
        self.title = problem.title


class Peer:
    """Another service. Answers stream; nothing is retried here."""

    def __init__(self, service: str, session: aiohttp.ClientSession, origin: str) -> None:
        self.service = service
        self.session = session
        self.origin = origin

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        body: bytes | AsyncIterable[bytes] | None = None,
        timeout: timedelta | None = None,
        silence: timedelta | None = None,
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """The raw answer, whatever its status. Raises PeerUnavailableError when there is none.

        `timeout` limits the whole exchange; `silence`, for long bodies, only the wait for the answer's next byte.
        """
        sent = {"X-Request-ID": request_id.get(), **(headers or {})}
        if traceparent.get():
            sent.setdefault("traceparent", traceparent.get())
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        limit = self.session.timeout
        if silence:
            limit = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=silence.total_seconds())
        elif timeout:
            limit = aiohttp.ClientTimeout(total=timeout.total_seconds())
        try:
            async with self.session.request(
                method, self.origin + path, headers=sent, params=params, data=body, allow_redirects=False, timeout=limit
            ) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise PeerUnavailableError(self.service) from error

    async def call(
        self,
        method: str,
        path: str,
        answer: type[Model],
        *,
        token: str | None = None,
        body: BaseModel | JsonValue = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Model:
        """JSON in, `answer` out. Raises PeerRefusedError with the peer's own problem, or PeerUnavailableError."""
        data = _encoded(body)
        typed = {"Content-Type": "application/json"} if data is not None else {}
        async with self.open(
            method, path, token=token, params=params, body=data, headers={**typed, **(headers or {})}
        ) as response:
            raw = await response.read()
            if response.status >= 400:
                raise PeerRefusedError(_problem(response.status, raw))
        return answer.model_validate_json(raw or b"{}")

    async def check(self) -> None:
        """Raises PeerUnavailableError while the peer is not alive."""
        async with self.open("GET", "/healthz", timeout=timedelta(seconds=2)) as response:
            if response.status != 200:
                raise PeerUnavailableError(self.service)


def _encoded(body: BaseModel | JsonValue) -> bytes | None:
    if body is None:
        return None
    if isinstance(body, BaseModel):
        return body.model_dump_json().encode()
    return json.dumps(body).encode()


def _problem(status: int, raw: bytes) -> Problem:
    try:
        return Problem.model_validate_json(raw)
    except ValidationError:
        return Problem(title="A service refused the request", status=status)


@asynccontextmanager
async def open_peer(service: str, url: str, timeout: timedelta) -> AsyncGenerator[Peer]:
    """A client for `unix:/path` or `http://host:port`."""
    limits = aiohttp.ClientTimeout(total=timeout.total_seconds(), connect=CONNECT_S)
    if url.startswith(UNIX):
        connector: aiohttp.BaseConnector = aiohttp.UnixConnector(path=url.removeprefix(UNIX), limit=200)
        origin = f"http://{service}"
    else:
        connector = aiohttp.TCPConnector(limit=200, keepalive_timeout=60)
        origin = url.rstrip("/")
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=limits,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=NOT_ADDED,
        trust_env=False,
    ) as session:
        yield Peer(service, session, origin)
