"""Search by meaning: the index finds, the database decides."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fastapi import APIRouter
from kasal_contracts.identity import Caller
from kasal_contracts.memory import Matches, MemoryKind, MemoryMatch
from kasal_contracts.wire import JsonObject
from kasal_db import owned
from kasal_runtime.security import Viewer

from .bodies import SearchIn
from .memory import Memory, TheMemory
from .records import on_the_wire
from .tables import Record, scope_of

# What is found may be gone or filtered out; each further look fetches this many times as much.
_WIDER = 4
_LOADED_AT_ONCE = 500

router = APIRouter(tags=["memory"])


@dataclass(frozen=True, slots=True)
class Search:
    """`scopes` are where to look (see `scope_of`). `metadata` holds values that a record must have.

    With `crew_only`, records of saved crews other than `crew_id` are left out, whose crew identity is the same.
    """

    query: str
    scopes: Sequence[str | None]
    top_k: int
    min_score: float | None = None
    kinds: Sequence[MemoryKind] | None = None
    session_id: str | None = None
    metadata: JsonObject = field(default_factory=dict)
    crew_only: bool = False
    crew_id: str | None = None

    def wants(self, record: Record) -> bool:
        if self.crew_only and record.crew_id not in {None, self.crew_id}:
            return False
        return all(key in record.details and _same(record.details[key], value) for key, value in self.metadata.items())


@router.post("/api/v1/memory/search", summary="Search the memory by meaning")
async def search_records(order: SearchIn, me: Viewer, memory: TheMemory) -> Matches:
    search = Search(
        query=order.query,
        scopes=await public_scopes(memory, me, order.crew_id),
        top_k=order.top_k,
        min_score=order.min_score,
        kinds=order.kinds,
        session_id=order.session_id,
        metadata=dict(order.filters),
        crew_only=True,
        crew_id=order.crew_id,
    )
    return Matches(items=await find_matches(memory, me, search))


async def public_scopes(memory: Memory, me: Caller, crew_id: str | None) -> list[str | None]:
    """What is shared, and every identity under which records of `crew_id` (None: of no saved crew) were kept."""
    of_crew = owned(Record, me).where(Record.crew_id == crew_id).with_only_columns(Record.identity).distinct()
    async with memory.database.tenant(me, read_only=True) as session:
        identities = await session.scalars(of_crew.where(Record.identity.is_not(None)))
        return [*{None, scope_of(None, crew_id)}, *identities]


async def find_matches(memory: Memory, me: Caller, search: Search) -> list[MemoryMatch]:
    """The nearest `top_k` records of the group of `me`, best first, looking ever wider until there are as many.

    The index forgets what it found and was deleted.
    """
    [vector] = await memory.embedder.embed([search.query])
    await memory.follower.catch_up()
    known: dict[str, Record | None] = {}
    fetch = search.top_k * 2
    while True:
        hits = await memory.index.search(
            vector,
            group_id=me.group_id,
            identities=search.scopes,
            kinds=search.kinds and [kind.value for kind in search.kinds],
            session_id=search.session_id,
            top_k=fetch,
            min_score=search.min_score,
        )
        known |= await _load(memory, me, [hit.id for hit in hits if hit.id not in known])
        found = [(hit.score, record) for hit in hits if (record := known[hit.id]) and search.wants(record)]
        if len(found) >= search.top_k or len(hits) < fetch:
            break
        fetch *= _WIDER
    await memory.index.delete([key for key, record in known.items() if record is None])
    return [MemoryMatch(record=on_the_wire(record), score=score) for score, record in found[: search.top_k]]


async def _load(memory: Memory, me: Caller, ids: Sequence[str]) -> dict[str, Record | None]:
    """Each id with its record, or None where it was deleted.

    The transaction begins after the index was asked: an older view would not have what the index has just learnt.
    """
    records: dict[str, Record | None] = dict.fromkeys(ids)
    async with memory.database.tenant(me, read_only=True) as session:
        for start in range(0, len(ids), _LOADED_AT_ONCE):
            rows = owned(Record, me).where(Record.id.in_(ids[start : start + _LOADED_AT_ONCE]))
            records |= {record.id: record for record in await session.scalars(rows)}
    return records


def _same(one: object, other: object) -> bool:
    """As in JSON, where `true` is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)
