"""The public door of Kasal as a service: what it opens, and how its layers lie on each other."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from kasal_contracts.errors import NotFoundError, UnavailableError
from kasal_runtime.boundary import Boundary
from kasal_runtime.hosting import PEERS
from kasal_runtime.peers import Peer
from kasal_runtime.readiness import Check
from kasal_runtime.service import Host, Service
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from .browsers import ALLOWED_HEADERS, ALLOWED_METHODS, EXPOSED, SecurityHeaders
from .documents import Documents
from .door import Door
from .exchanges import Exchanges
from .following import Viewings
from .forwarding import JWKS, Forwarder
from .pages import Pages
from .settings import GatewaySettings
from .sockets import ExecutionSocket, SocketBoundary
from .streams import ExecutionStream, GroupStream
from .watches import Watches, open_watches

READY_LIMIT = timedelta(seconds=2)


@asynccontextmanager
async def open_gateway(settings: GatewaySettings, host: Host) -> AsyncGenerator[ASGIApp]:
    async with open_watches(host.bus, settings.stream_buffer) as watches:
        yield layered(settings, host, routes(settings, host, watches))


def routes(settings: GatewaySettings, host: Host, watches: Watches) -> Router:
    """The gateway's own paths go before those that travel on."""
    checks = {name: _check(host.peer(name)) for name in PEERS} | {"bus": host.bus.check}
    pages = Pages(checks, host.metrics, Documents({name: host.peer(name) for name in PEERS}))
    executor = host.peer("executor")
    group_stream = GroupStream(watches, host.verifier, settings.stream_heartbeat)
    viewings = Viewings(watches, executor, host.verifier, settings.stream_heartbeat)
    forwarder = Forwarder(host.peer, settings.request_timeout)
    return Router(
        [
            *pages.routes(),
            Route("/api/v1/execution/stream", group_stream, methods=["GET"]),
            Route("/api/v1/execution/{execution_id}/stream", ExecutionStream(viewings), methods=["GET"]),
            WebSocketRoute("/api/v1/execution/{execution_id}/ws", ExecutionSocket(viewings, executor)),
            Route(JWKS, forwarder, methods=["GET"]),
            Route("/api/v1/{rest:path}", forwarder),
            Mount("/", nothing_here),
        ],
        redirect_slashes=False,
    )


def layered(settings: GatewaySettings, host: Host, router: Router) -> ASGIApp:
    """From the inside: who may come in, then errors and limits, then what browsers need on every answer."""
    exchanges = Exchanges(host.peer("auth"), host.tokens, settings.exchange_cache)
    app: ASGIApp = Door(router, host.verifier, exchanges)
    app = SocketBoundary(app, settings.allowed_origins)
    app = Boundary(app, service="gateway", body_limit=settings.body_limit, metrics=host.metrics)
    if settings.allowed_origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.allowed_origins,
            allow_methods=ALLOWED_METHODS,
            allow_headers=ALLOWED_HEADERS,
            expose_headers=EXPOSED,
        )
    return SecurityHeaders(app, https=settings.https)


async def nothing_here(scope: Scope, _receive: Receive, _send: Send) -> None:
    raise NotFoundError("path", scope["path"])


def _check(peer: Peer) -> Check:
    async def check() -> None:
        async with peer.open("GET", "/readyz", timeout=READY_LIMIT) as answer:
            if answer.status != 200:
                raise UnavailableError(f"the {peer.service} service is not ready")

    return check


SERVICE = Service(name="gateway", settings=GatewaySettings, open=open_gateway)
