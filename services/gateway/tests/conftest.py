"""A gateway behind its front door: on a real port, with its peers on Unix sockets and a bus of either kind."""

from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from kasal_bus import Bus, open_memory, open_rabbit
from kasal_gateway.service import SERVICE
from kasal_gateway.settings import GatewaySettings
from kasal_runtime.hosting import open_host, serving
from kasal_testing.queues import own_queues
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .stand_ins import Auth, Crews, Executor

Gateways = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


class Peers:
    """Several services on one socket: the host of a request says which is meant."""

    def __init__(self, apps: Mapping[str, ASGIApp]) -> None:
        self.apps = apps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.apps[Headers(scope=scope)["host"]](scope, receive, send)


@pytest.fixture(scope="session")
def prefix(amqp_url: str) -> Generator[str]:
    """Goes before names on the broker, so that no other test run uses them."""
    with own_queues(amqp_url) as prefix:
        yield prefix


@pytest.fixture(params=["memory", "rabbit"])
async def any_bus(request: pytest.FixtureRequest) -> AsyncGenerator[Bus]:
    if request.param == "memory":
        async with open_memory() as bus:
            yield bus
        return
    url, prefix = request.getfixturevalue("amqp_url"), request.getfixturevalue("prefix")
    async with open_rabbit(url, prefix=prefix) as bus:
        yield bus


@pytest.fixture
async def bus(request: pytest.FixtureRequest) -> AsyncGenerator[Bus]:
    """The in-process bus, or whichever the test asks for by `any_bus`."""
    if "any_bus" in request.fixturenames:
        yield request.getfixturevalue("any_bus")
        return
    async with open_memory() as bus:
        yield bus


@pytest.fixture
def auth() -> Auth:
    return Auth()


@pytest.fixture
def executor(bus: Bus) -> Executor:
    return Executor(bus)


@pytest.fixture
def crews() -> Crews:
    return Crews()


@pytest.fixture
async def gateways(tmp_path: Path, bus: Bus, auth: Auth, executor: Executor, crews: Crews) -> AsyncGenerator[Gateways]:
    """Opens gateways; keyword arguments are settings, `on` another bus. The memory service is always away."""
    (tmp_path / "bootstrap.key").write_text("bootstrap\n")
    peers = Peers({"auth": auth.app(), "executor": executor.app(), "crews": crews.app()})
    here, nowhere = f"unix:{tmp_path}/peers.sock", f"unix:{tmp_path}/nowhere.sock"

    @asynccontextmanager
    async def open_one(on: Bus = bus, **settings: object) -> AsyncGenerator[httpx.AsyncClient]:
        urls = {"memory_url": nowhere, **dict.fromkeys(("auth_url", "crews_url", "executor_url"), here)}
        read = GatewaySettings.model_validate({"secret_dir": tmp_path, **urls, **settings})
        async with (
            open_host("gateway", read, on) as host,
            SERVICE.open(read, host) as app,
            serving(app) as port,
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}",
                headers={"Authorization": f"Bearer {auth.token()}"},
                timeout=10,
                trust_env=False,
            ) as client,
        ):
            yield client

    async with serving(peers, uds=tmp_path / "peers.sock"):
        yield open_one


@pytest.fixture
async def client(gateways: Gateways) -> AsyncGenerator[httpx.AsyncClient]:
    async with gateways() as client:
        yield client
