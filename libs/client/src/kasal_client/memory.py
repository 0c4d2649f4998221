"""What crews remember."""

from collections.abc import Sequence

from kasal_contracts.memory import Matches, MemoryKind, MemoryMatch, MemoryRecord
from kasal_contracts.pages import Page
from kasal_contracts.wire import Frozen, JsonObject
from pydantic import JsonValue

from .transport import Transport


class _Cleared(Frozen):
    deleted: int


class Memory:
    """Without `crew_id` a record is shared in the group."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def save(
        self,
        text: str,
        *,
        kind: MemoryKind = MemoryKind.LONG_TERM,
        crew_id: str | None = None,
        entity: str | None = None,
        metadata: JsonObject | None = None,
    ) -> MemoryRecord:
        body: JsonValue = {
            "kind": kind.value,
            "text": text,
            "crew_id": crew_id,
            "entity": entity,
            "metadata": metadata or {},
        }
        return self._transport.call("POST", "/memory/records", MemoryRecord, body=body)

    def search(
        self, query: str, *, top_k: int = 5, crew_id: str | None = None, min_score: float | None = None
    ) -> Sequence[MemoryMatch]:
        """Best first."""
        body: JsonValue = {"query": query, "top_k": top_k, "crew_id": crew_id, "min_score": min_score}
        return self._transport.call("POST", "/memory/search", Matches, body=body).items

    def list(
        self, *, kind: MemoryKind | None = None, crew_id: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[MemoryRecord]:
        params = {"kind": kind and kind.value, "crew_id": crew_id, "limit": limit, "cursor": cursor}
        return self._transport.call("GET", "/memory/records", Page[MemoryRecord], params=params)

    def delete(self, record_id: str) -> None:
        self._transport.send("DELETE", f"/memory/records/{record_id}")

    def clear(self, *, kind: MemoryKind | None = None, crew_id: str | None = None) -> int:
        """How many were removed. Without a filter that is everything in the group."""
        body: JsonValue = {"kind": kind and kind.value, "crew_id": crew_id}
        return self._transport.call("POST", "/memory/clear", _Cleared, body=body).deleted
