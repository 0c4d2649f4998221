"""A real server on loopback, and names that lead where a test wants them to."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_address
from ssl import SSLContext

import pytest
from aiohttp import web
from kasal_egress import UrlPolicy
from kasal_egress.resolver import Resolve

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[..., Awaitable[int]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve(handler, tls=None)` starts a server on 127.0.0.1 and returns its port."""
    async with AsyncExitStack() as stack:

        async def start(handler: Handler, tls: SSLContext | None = None) -> int:
            return await stack.enter_async_context(_served(handler, tls))

        yield start


@asynccontextmanager
async def _served(handler: Handler, tls: SSLContext | None) -> AsyncIterator[int]:
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port: int = runner.addresses[0][1]
        yield port
    finally:
        await runner.cleanup()


@pytest.fixture
def local() -> UrlPolicy:
    return UrlPolicy(allow_loopback_ports=True)


@pytest.fixture
def names() -> Callable[..., Resolve]:
    """`names({"a.example": [["10.0.0.1"], ["10.0.0.2"]]}, asked)`: one answer after the other; the last one stays."""

    def resolver(answers: dict[str, list[list[str]]], asked: list[str] | None = None) -> Resolve:
        async def resolve(host: str, port: int) -> Sequence[str]:
            if asked is not None:
                asked.append(host)
            try:
                return [str(ip_address(host))]
            except ValueError:
                listed = answers.get(host)
            if listed is None:
                raise OSError(f"{host} is not known here")
            return listed.pop(0) if len(listed) > 1 else listed[0]

        return resolve

    return resolver


@pytest.fixture
def unused_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
