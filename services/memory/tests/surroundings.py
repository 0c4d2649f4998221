"""The memory service over real HTTP, beside an issuer of tokens and a crews service that knows a few crews."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from kasal_bus import open_memory
from kasal_contracts.errors import NotFoundError
from kasal_contracts.identity import Act, Role
from kasal_contracts.ids import new_id
from kasal_db.migrations import migrate
from kasal_memory.service import SERVICE
from kasal_memory.settings import MemorySettings
from kasal_runtime.app import service_app
from kasal_runtime.hosting import serving
from kasal_runtime.metrics import HttpMetrics, new_registry
from kasal_runtime.peers import Peer, open_peer
from kasal_runtime.security import Viewer
from kasal_runtime.service import Host
from kasal_runtime.tokens import ServiceTokens, open_verifier
from kasal_testing.issuer import Issuer, open_issuer
from pydantic import SecretStr

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Json

    @property
    def texts(self) -> list[str]:
        """Of a page of records, or of matches."""
        return [item.get("record", item)["text"] for item in self.body["items"]]


@dataclass(frozen=True)
class Replica:
    """One running memory service, as people and workers of `group` see it."""

    world: "World"
    peer: Peer
    group: str

    def of(self, group: str) -> "Replica":
        """The same replica, seen from another group."""
        return replace(self, group=group)

    def make_crew(self) -> str:
        """The id of a crew that the crews service knows in this group."""
        crew_id = new_id()
        self.world.crews.add((self.group, crew_id))
        return crew_id

    async def raw(self, method: str, path: str, token: str | None, body: bytes | None = None, **params: str) -> Answer:
        sent = {"Content-Type": "application/json"}
        async with self.peer.open(method, path, token=token, body=body, headers=sent, params=params) as answer:
            text = await answer.read()
            return Answer(answer.status, answer.headers, json.loads(text) if text else {})

    async def call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        role: Role = Role.ADMIN,
        **params: str,
    ) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        token = self.world.issuer.token(group=self.group, role=role)
        return await self.raw(method, f"/api/v1/memory{path}", token, data, **params)

    async def save(self, text: str, **fields: Any) -> Json:
        answer = await self.call("POST", "/records", {"kind": "short_term", "text": text, **fields})
        assert answer.status == 201, answer.body
        return answer.body

    async def found(self, query: str, **fields: Any) -> list[str]:
        answer = await self.call("POST", "/search", {"query": query, **fields})
        assert answer.status == 200, answer.body
        return answer.texts

    async def listed(self, **params: str) -> list[str]:
        answer = await self.call("GET", "/records", **params)
        assert answer.status == 200, answer.body
        return answer.texts

    async def internal(self, path: str, body: Json) -> Answer:
        act = Act(group_id=self.group, user_id="user-7", execution_id="e1", attempt=1)
        token = self.world.issuer.service_token("memory", act)
        return await self.raw("POST", f"/internal/memory{path}", token, json.dumps(body).encode())

    async def recall(self, identity: str, query: str, **fields: Any) -> list[str]:
        answer = await self.internal("/search", {"identity": identity, "query": query, **fields})
        assert answer.status == 200, answer.body
        return answer.texts

    async def remember(self, identity: str, *texts: str, **fields: Any) -> list[str]:
        body = {"identity": identity, "texts": list(texts), **fields}
        answer = await self.internal("/records", body)
        assert answer.status == 201, answer.body
        ids: list[str] = answer.body["ids"]
        return ids


@dataclass
class World:
    """What replicas of the memory service have around them. `crews` are pairs of group and crew."""

    folder: Path
    database_url: str
    issuer: Issuer
    auth: Peer
    crews: set[tuple[str, str]] = field(default_factory=set)
    opened: int = 0

    @asynccontextmanager
    async def replica(self, data: str = "data", **settings: Any) -> AsyncGenerator[Replica]:
        """A replica with its files in `data`, seen from a new group."""
        self.opened += 1
        socket = self.folder / f"memory-{self.opened}.sock"
        usual = {"database_url": SecretStr(self.database_url), "data_dir": self.folder / data}
        async with AsyncExitStack() as stack:
            host = await stack.enter_async_context(self.host("memory"))
            app = await stack.enter_async_context(SERVICE.open(MemorySettings(**{**usual, **settings}), host))
            await stack.enter_async_context(serving(app, uds=socket))
            peer = await stack.enter_async_context(open_peer("memory", f"unix:{socket}", timedelta(seconds=30)))
            yield Replica(self, peer, new_id())

    @asynccontextmanager
    async def host(self, service: str) -> AsyncGenerator[Host]:
        async with (
            open_memory() as bus,
            open_verifier(self.auth, service) as verifier,
            open_peer("crews", f"unix:{self.folder}/crews.sock", timedelta(seconds=5)) as crews,
        ):
            yield Host(
                bus=bus,
                peer={"auth": self.auth, "crews": crews}.__getitem__,
                verifier=verifier,
                tokens=ServiceTokens(self.auth, service, SecretStr("bootstrap")),
                metrics=HttpMetrics(new_registry()),
            )

    def crew_routes(self) -> APIRouter:
        router = APIRouter()

        @router.get("/api/v1/crews/{crew_id}", summary="Read a crew")
        async def read_crew(crew_id: str, me: Viewer) -> dict[str, str]:
            if (me.group_id, crew_id) not in self.crews:
                raise NotFoundError("crew", crew_id)
            return {"id": crew_id, "name": "A crew"}

        @router.get("/api/v1/crews/{crew_id}/versions", summary="Something below a crew")
        async def versions(crew_id: str, me: Viewer) -> dict[str, list[str]]:
            return {"items": []}

        return router


@asynccontextmanager
async def open_world(folder: Path, database_url: str) -> AsyncGenerator[World]:
    """Without the tables of the memory service."""
    async with AsyncExitStack() as stack:
        issuer = await stack.enter_async_context(open_issuer(folder / "auth.sock"))
        auth = await stack.enter_async_context(open_peer("auth", f"unix:{folder}/auth.sock", timedelta(seconds=5)))
        world = World(folder, database_url, issuer, auth)
        host = await stack.enter_async_context(world.host("crews"))
        app = service_app("crews", host, routers=[world.crew_routes()], checks={}, body_limit=10_000)
        await stack.enter_async_context(serving(app, uds=folder / "crews.sock"))
        yield world


async def make_tables(database_url: str) -> None:
    assert SERVICE.versions
    assert SERVICE.metadata
    await migrate(database_url, SERVICE.name, SERVICE.versions, SERVICE.metadata)
