"""The services that a worker talks to, as small real servers on Unix sockets, and a host that knows them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import jwt
from fastapi import FastAPI, HTTPException, Request
from kasal_bus import Bus
from kasal_contracts.credentials import CredentialIn, CredentialOut
from kasal_contracts.identity import Act
from kasal_executor.worker.settings import WorkerSettings
from kasal_runtime.hosting import open_host, serving
from kasal_runtime.service import Host
from kasal_runtime.tokens import Claims
from kasal_testing.issuer import Issuer
from pydantic import BaseModel, JsonValue, SecretStr


class Asked(BaseModel):
    """One call to a desk. `act` is on whose behalf its service token was."""

    path: str
    audience: str
    act: Act | None
    body: JsonValue


@dataclass
class Desks:
    """`keys` are what auth has; `asked` what auth and memory were asked for."""

    host: Host
    settings: WorkerSettings
    keys: dict[str, str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    async def note(self, request: Request) -> None:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        claims = Claims.model_validate(jwt.decode(token, options={"verify_signature": False}))
        body = await request.json()
        self.asked.append(Asked(path=request.url.path, audience=claims.aud, act=claims.act, body=body))


def _auth(desks: Desks) -> FastAPI:
    app = Issuer().app()

    @app.post("/internal/credentials")
    async def credentials(order: CredentialIn, request: Request) -> CredentialOut:
        await desks.note(request)
        if order.name not in desks.keys:
            raise HTTPException(404)
        return CredentialOut(name=order.name, value=desks.keys[order.name], source="group")

    return app


def _memory(desks: Desks) -> FastAPI:
    app = FastAPI()

    @app.post("/internal/memory/{what}")
    async def memory(what: str, request: Request) -> JsonValue:
        await desks.note(request)
        return {"items": [], "asked": what}

    return app


@asynccontextmanager
async def open_desks(folder: Path, bus: Bus, **settings: object) -> AsyncIterator[Desks]:
    secret_dir = folder / "secrets"
    secret_dir.mkdir(parents=True)
    (secret_dir / "bootstrap.key").write_text("bootstrap")
    chosen = {
        "database_url": SecretStr(f"sqlite:///{folder / 'db'}"),
        "data_dir": folder,
        "secret_dir": secret_dir,
        "auth_url": f"unix:{folder / 'auth.sock'}",
        "memory_url": f"unix:{folder / 'memory.sock'}",
        "egress_loopback": True,
        **settings,
    }
    worker = WorkerSettings(_env_file=None, **chosen)  # type: ignore[arg-type, call-arg]
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(open_host("worker", worker, bus))
        desks = Desks(host, worker)
        await stack.enter_async_context(serving(_auth(desks), uds=folder / "auth.sock"))
        await stack.enter_async_context(serving(_memory(desks), uds=folder / "memory.sock"))
        yield desks
