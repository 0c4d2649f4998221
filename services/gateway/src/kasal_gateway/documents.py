"""The OpenAPI documents of the services: fetched together, kept while a service is away."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from kasal_contracts.errors import KasalError
from kasal_contracts.wire import JsonObject
from kasal_runtime.peers import Peer, PeerUnavailableError
from pydantic import BaseModel

FRESH = timedelta(seconds=5)
LIMIT_S = 3


class Info(BaseModel):
    version: str


class Components(BaseModel):
    schemas: dict[str, JsonObject] = {}


class Document(BaseModel):
    """What we read of an OpenAPI document. `paths` maps a path to its operations by method."""

    info: Info
    paths: dict[str, dict[str, JsonObject]] = {}
    components: Components = Components()


@dataclass(frozen=True)
class Shelf:
    """`documents` as last seen; `away` are the services that do not answer now."""

    documents: Mapping[str, Document]
    away: frozenset[str]


class Documents:
    """Asks the services at most every few seconds, however often somebody reads."""

    def __init__(self, peers: Mapping[str, Peer]) -> None:
        self._peers = peers
        self._asking = asyncio.Lock()
        self._shelf = Shelf({}, frozenset(peers))
        self._asked_at = float("-inf")

    async def shelf(self) -> Shelf:
        async with self._asking:
            if time.monotonic() - self._asked_at >= FRESH.total_seconds():
                self._shelf = await self._asked()
                self._asked_at = time.monotonic()
            return self._shelf

    async def _asked(self) -> Shelf:
        answers = await asyncio.gather(*map(_fetched, self._peers.values()))
        found = dict(zip(self._peers, answers, strict=True))
        fresh = {name: document for name, document in found.items() if document is not None}
        return Shelf({**self._shelf.documents, **fresh}, frozenset(found) - frozenset(fresh))


async def _fetched(peer: Peer) -> Document | None:
    try:
        async with asyncio.timeout(LIMIT_S):
            return await peer.call("GET", "/openapi.json", Document)
    except (KasalError, PeerUnavailableError, TimeoutError):
        return None
