"""The crews service as it is served, on both databases, with a small auth beside it."""

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm
from kasal_bus.memory import open_memory
from kasal_contracts.identity import Role
from kasal_contracts.ids import new_id
from kasal_crews.service import SERVICE
from kasal_crews.settings import CrewsSettings
from kasal_db.migrations import migrate
from kasal_runtime.hosting import open_host, serving
from kasal_testing.plugin import postgres_database
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

Json = dict[str, Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for all: the service is started once for each database."""
    for item in items:
        if Path(__file__).parent in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A database of each kind in turn, with the service's tables. Tests keep apart by their groups."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('db')}"
        asyncio.run(migrate(url, SERVICE.name, SERVICE.versions, SERVICE.metadata))
        yield url
        return
    with postgres_database(request.getfixturevalue("postgres_server")) as url:
        asyncio.run(migrate(url, SERVICE.name, SERVICE.versions, SERVICE.metadata))
        yield url


@dataclass
class Auth:
    """Signs tokens and says which keys are there, as the auth service does."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    held: list[str] = field(default_factory=list)
    away: bool = False
    asked_by: list[str] = field(default_factory=list)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/jwks.json", self._jwks),
                Route("/.well-known/revocations.json", self._revocations),
                Route("/internal/credentials/available", self._available),
            ]
        )

    async def _jwks(self, _: Request) -> JSONResponse:
        jwk = OKPAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return JSONResponse({"keys": [{**jwk, "kid": "test", "alg": "EdDSA", "use": "sig"}]})

    async def _revocations(self, _: Request) -> JSONResponse:
        return JSONResponse({"items": []})

    async def _available(self, request: Request) -> JSONResponse:
        self.asked_by.append(request.headers["authorization"])
        if self.away:
            return JSONResponse({}, status_code=503)
        return JSONResponse({"items": [{"name": name, "source": "group"} for name in self.held]})

    def token(self, user: str, group: str, role: Role, *, system: bool = False) -> str:
        now = time.time()
        claims = {"sub": user, "gid": group, "role": role, "sys": system, "jti": new_id()}
        return jwt.encode(
            {**claims, "iss": "kasal", "aud": "kasal", "iat": now, "exp": now + 900},
            self.key,
            algorithm="EdDSA",
            headers={"kid": "test"},
        )


@dataclass
class Kasal:
    """The served service, and people who call it."""

    auth: Auth
    socket: Path
    stack: AsyncExitStack
    group: str = field(default_factory=new_id)

    @classmethod
    @asynccontextmanager
    async def opened(cls, auth: Auth, socket: Path) -> AsyncGenerator[Self]:
        async with AsyncExitStack() as stack:
            yield cls(auth, socket, stack)

    async def person(self, role: Role = Role.ADMIN, *, group: str = "", system: bool = False) -> httpx.AsyncClient:
        """A client of somebody new with `role` in `group`, which is this test's own where not named."""
        token = self.auth.token(new_id(), group or self.group, role, system=system)
        client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(self.socket), verify=False),
            base_url="http://crews/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        )
        return await self.stack.enter_async_context(client)


@asynccontextmanager
async def serving_crews(url: str, auth: Auth, **settings: str) -> AsyncGenerator[Path]:
    """The service on the Unix socket that is yielded; its path is short, for they end at 107 bytes."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kasal-")))
        (folder / "bootstrap.key").write_text("test")
        auth_socket, socket = folder / "auth.sock", folder / "crews.sock"
        configured = CrewsSettings(
            _env_file=None, database_url=url, secret_dir=folder, auth_url=f"unix:{auth_socket}", **settings
        )
        await stack.enter_async_context(serving(auth.app(), uds=auth_socket))
        bus = await stack.enter_async_context(open_memory())
        host = await stack.enter_async_context(open_host(SERVICE.name, configured, bus))
        app = await stack.enter_async_context(SERVICE.open(configured, host))
        await stack.enter_async_context(serving(app, uds=socket))
        yield socket


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def served(migrated_url: str) -> AsyncGenerator[tuple[Auth, Path]]:
    auth = Auth()
    async with serving_crews(migrated_url, auth) as socket:
        yield auth, socket


@pytest_asyncio.fixture(loop_scope="session")
async def kasal(served: tuple[Auth, Path]) -> AsyncGenerator[Kasal]:
    auth, socket = served
    auth.held, auth.away = [], False
    async with Kasal.opened(auth, socket) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def admin(kasal: Kasal) -> httpx.AsyncClient:
    return await kasal.person(Role.ADMIN)


@pytest.fixture
def crew() -> Json:
    """A valid crew, to be changed at will."""
    return {
        "name": "Research brief",
        "description": "Two people and a topic",
        "process": "sequential",
        "agents": [
            {"key": "researcher", "role": "Researcher", "goal": "Know {topic}", "model": "demo/scripted"},
            {"key": "writer", "role": "Writer", "goal": "Write", "model": "demo/scripted", "tools": ["calculator"]},
        ],
        "tasks": [
            {
                "key": "research",
                "description": "Research {topic}",
                "expected_output": "Ten facts",
                "agent": "researcher",
            },
            {
                "key": "brief",
                "description": "Write it down",
                "expected_output": "A page",
                "agent": "writer",
                "context": ["research"],
            },
        ],
        "inputs": {"topic": {"default": "AI", "description": "What to research"}},
        "layout": {"nodes": {"researcher": {"x": 80, "y": 120}}},
    }
