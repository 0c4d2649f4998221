"""The auth service as its clients meet it: real sockets, a real database, and the executor's lease beside it."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
from fastapi import APIRouter, Response
from kasal_auth.service import SERVICE
from kasal_auth.settings import AuthSettings, ProviderKeys
from kasal_bus.memory import open_memory
from kasal_contracts.identity import Act
from kasal_db import Keyring
from kasal_db.migrations import migrate
from kasal_runtime.app import service_app
from kasal_runtime.hosting import open_host, serving
from kasal_runtime.security import FromService
from kasal_runtime.service import Host
from pydantic import SecretStr

ADMIN_EMAIL = "admin@kasal.local"
ADMIN_PASSWORD = "the first admin of all"
PASSWORD = "a long enough password"
BOOTSTRAP_KEY = "bootstrap-key-of-the-tests"
ENVIRONMENT_KEY = "sk-environment-0001"
numbers = count(1)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any
    text: str


@dataclass(frozen=True)
class Person:
    """A user with a session. `token` is an access token for the user's first group."""

    id: str
    email: str
    token: str
    refresh_token: str
    group_id: str | None


@dataclass
class Front:
    """One replica of auth. Every call is a request on its socket."""

    settings: AuthSettings
    host: Host
    session: aiohttp.ClientSession
    admin: Person = field(init=False)

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: str
    ) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        async with self.session.request(method, f"http://auth{path}", json=body, headers=sent) as response:
            text = await response.text()
            is_json = bool(text) and "json" in response.headers["content-type"]
            return Answer(response.status, response.headers, json.loads(text) if is_json else None, text)

    async def login(self, email: str, password: str = PASSWORD, **headers: str) -> Answer:
        return await self.call("POST", "/api/v1/auth/login", {"email": email, "password": password}, **headers)

    async def person(self, email: str, password: str = PASSWORD) -> Person:
        body = (await self.login(email, password)).body
        user = body["user"]
        return Person(user["id"], email, body["access_token"], body["refresh_token"], user["group_id"])

    async def new_group(self) -> str:
        name = f"group {next(numbers)}"
        return str((await self.call("POST", "/api/v1/groups", {"name": name}, token=self.admin.token)).body["id"])

    async def new_person(self, role: str | None = None, group_id: str | None = None) -> Person:
        """Somebody new; with a `role` in `group_id`, or in a group of their own."""
        email = f"person{next(numbers)}@example.com"
        await self.call("POST", "/api/v1/users", {"email": email, "password": PASSWORD}, token=self.admin.token)
        if role is not None:
            await self.add(group_id or await self.new_group(), email, role)
        return await self.person(email)

    async def add(self, group_id: str, email: str, role: str) -> None:
        path = f"/api/v1/groups/{group_id}/members"
        answer = await self.call("POST", path, {"email": email, "role": role}, token=self.admin.token)
        assert answer.status == 201, answer.text

    async def service_token(self, service: str, act: Act | None = None, audience: str = "auth") -> str:
        body = {"service": service, "audience": audience, "act": act.model_dump() if act else None}
        answer = await self.call("POST", "/internal/service-tokens", body, X_Kasal_Bootstrap=BOOTSTRAP_KEY)
        return str(answer.body["token"])

    async def hashes(self) -> float:
        """How many passwords were hashed or checked so far."""
        lines = (await self.call("GET", "/metrics")).text.splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("kasal_password_hashes_total")))


@dataclass
class Leases:
    """The executor's side of a lease: `(execution, attempt)` of those that are live."""

    live: set[tuple[str, int]] = field(default_factory=set)

    def router(self) -> APIRouter:
        router = APIRouter()

        @router.get("/internal/executions/{execution_id}/lease")
        async def lease(execution_id: str, attempt: int, me: FromService) -> Response:
            assert me.act is not None
            return Response(status_code=204 if (execution_id, attempt) in self.live else 404)

        return router


def settings_in(folder: Path, database_url: str, **changes: Any) -> AuthSettings:
    """Settings of a replica with the cheapest passwords that are allowed."""
    secrets = folder / "secrets"
    secrets.mkdir(exist_ok=True)
    (secrets / "bootstrap.key").write_text(BOOTSTRAP_KEY)
    chosen: dict[str, Any] = {
        "database_url": SecretStr(database_url),
        "secret_dir": secrets,
        "auth_url": f"unix:{folder}/auth.sock",
        "executor_url": f"unix:{folder}/executor.sock",
        "peer_timeout": timedelta(seconds=10),
        "encryption_keys": SecretStr(Keyring.generate("k1")),
        "admin_email": ADMIN_EMAIL,
        "admin_password": SecretStr(ADMIN_PASSWORD),
        "provider_keys": ProviderKeys(
            openai_api_key=SecretStr(ENVIRONMENT_KEY), databricks_api_key=SecretStr("dapi-environment")
        ),
        "argon2_memory_kib": 7_168,
        "argon2_iterations": 2,
        "argon2_lanes": 1,
    }
    return AuthSettings(**{**chosen, **changes})


async def migrate_auth(settings: AuthSettings) -> None:
    assert SERVICE.versions is not None
    assert SERVICE.metadata is not None
    await migrate(settings.database_url.get_secret_value(), "auth", SERVICE.versions, SERVICE.metadata)


@asynccontextmanager
async def open_front(settings: AuthSettings) -> AsyncGenerator[Front]:
    """Serves auth on the socket that `settings.auth_url` names. Raises what the service raises at its start."""
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(open_memory())
        host = await stack.enter_async_context(open_host("auth", settings, bus))
        app = await stack.enter_async_context(SERVICE.open(settings, host))
        await stack.enter_async_context(serving(app, uds=socket_of(settings)))
        yield await stack.enter_async_context(open_client(settings, host))


@asynccontextmanager
async def open_client(settings: AuthSettings, host: Host) -> AsyncGenerator[Front]:
    connector = aiohttp.UnixConnector(path=str(socket_of(settings)))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Front(settings, host, session)


def socket_of(settings: AuthSettings) -> Path:
    return Path(settings.auth_url.removeprefix("unix:"))


@asynccontextmanager
async def open_executor(settings: AuthSettings) -> AsyncGenerator[Leases]:
    leases = Leases()
    socket = Path(settings.executor_url.removeprefix("unix:"))
    async with open_memory() as bus, open_host("executor", settings, bus) as host:
        app = service_app("executor", host, routers=[leases.router()], checks={}, body_limit=10_000)
        async with serving(app, uds=socket):
            yield leases
