"""What a process opens once for the services that it hosts, and how it serves them."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn
from kasal_bus import Bus, open_memory, open_rabbit
from kasal_contracts.errors import UnavailableError
from pydantic import SecretStr
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .metrics import HttpMetrics, new_registry
from .peers import Peer, open_peer
from .service import Host
from .settings import CommonSettings
from .tokens import ServiceTokens, open_verifier

PEERS = ("auth", "crews", "executor", "memory")


class BootstrapKeyMissingError(UnavailableError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is missing: services prove themselves with it; `kasal up` and `kasal dev` make one")


@asynccontextmanager
async def open_bus(settings: CommonSettings) -> AsyncGenerator[Bus]:
    """RabbitMQ where KASAL_AMQP_URL names one, else the in-process bus."""
    url = settings.amqp_url.get_secret_value()
    async with open_rabbit(url, prefix=settings.amqp_prefix) if url else open_memory() as bus:
        yield bus


@asynccontextmanager
async def open_host(
    name: str, settings: CommonSettings, bus: Bus, metrics: HttpMetrics | None = None
) -> AsyncGenerator[Host]:
    """Raises BootstrapKeyMissingError."""
    key = read_bootstrap_key(settings.secret_dir)
    async with AsyncExitStack() as stack:
        peers: dict[str, Peer] = {}
        for peer in PEERS:
            opened = open_peer(peer, settings.peer_url(peer), settings.peer_timeout)
            peers[peer] = await stack.enter_async_context(opened)
        verifier = await stack.enter_async_context(open_verifier(peers["auth"], name))
        yield Host(
            bus=bus,
            peer=peers.__getitem__,
            verifier=verifier,
            tokens=ServiceTokens(peers["auth"], name, key),
            metrics=metrics or HttpMetrics(new_registry()),
        )


def read_bootstrap_key(secret_dir: Path) -> SecretStr:
    path = secret_dir / "bootstrap.key"
    if not path.is_file():
        raise BootstrapKeyMissingError(path)
    return SecretStr(path.read_text().strip())


class _Server(uvicorn.Server):
    """Leaves signals to the process that hosts it."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class _Closing:
    """Tells requests that still listen when the server stops that their client has gone: nothing else ends a stream."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.stopping = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        complete = False

        async def received() -> Message:
            nonlocal complete
            if complete:
                return await self._received_or_gone(receive)
            message = await receive()
            complete = not message.get("more_body", False)
            return message

        await self.app(scope, received if scope["type"] == "http" else receive, send)

    async def _received_or_gone(self, receive: Receive) -> Message:
        receiving = asyncio.ensure_future(receive())
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({receiving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return await receiving if receiving.done() else {"type": "http.disconnect"}
        finally:
            receiving.cancel()
            stopping.cancel()


@asynccontextmanager
async def serving(
    app: ASGIApp, *, uds: Path | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncGenerator[int]:
    """Serves `app` on a Unix socket or a port for as long as the context is open; yields the port.

    Raises OSError when the address cannot be taken.
    """
    closing = _Closing(app)
    config = uvicorn.Config(
        closing,
        uds=str(uds) if uds else None,
        host=host,
        port=port,
        lifespan="off",
        http="httptools",
        ws="websockets-sansio",
        log_config=None,
        access_log=False,
        # uvicorn would believe an X-Forwarded-For from this machine, and with it anybody who counts logins by address.
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )
    server = _Server(config)
    running = asyncio.create_task(_served(server), name="http-server")
    try:
        while not server.started:
            if running.done():
                await running
            await asyncio.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1] if uds is None else 0
    finally:
        closing.stopping.set()
        server.should_exit = True
        await running


async def _served(server: uvicorn.Server) -> None:
    try:
        await server.serve()
    except SystemExit as error:
        # uvicorn ends the process when it cannot bind; here that is an error like any other.
        raise OSError("the address cannot be bound; is it in use?") from error
