"""Memory records: saved once each, read, browsed and deleted."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, cast
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response
from kasal_contracts.errors import NotFoundError
from kasal_contracts.identity import Caller
from kasal_contracts.memory import MemoryKind, MemoryRecord
from kasal_contracts.pages import Page
from kasal_contracts.storable import StorableText
from kasal_contracts.wire import JsonObject
from kasal_db import owned, page_of
from kasal_runtime.ids import Id
from kasal_runtime.paging import DEFAULT_LIMIT, Cursor, Limit
from kasal_runtime.peers import Peer
from kasal_runtime.revisions import set_etag
from kasal_runtime.security import Editor, Operator, Viewer, bearer_token
from pydantic import BaseModel
from sqlalchemy import CursorResult, Select, delete, update
from sqlalchemy.ext.asyncio import AsyncSession

from .bodies import Cleared, ClearIn, RecordIn
from .memory import Memory, TheMemory
from .tables import Clock, Record, packed, scope_of

PATH = "/api/v1/memory/records"

router = APIRouter(tags=["memory"])


@dataclass(frozen=True, slots=True)
class Draft:
    """A text to keep. `identity` is the crew identity of the execution that remembers it."""

    kind: MemoryKind
    text: str
    crew_id: str | None = None
    identity: str | None = None
    agent: str | None = None
    session_id: str | None = None
    entity: str | None = None
    metadata: JsonObject = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The same for the same text in the same place, which is kept once."""
        scope = scope_of(self.identity, self.crew_id)
        place = json.dumps([scope, self.kind, self.session_id, self.entity, self.text])
        return hashlib.sha256(place.encode()).hexdigest()


class Browse(BaseModel):
    """Filters of the list; all that are given must hold."""

    kind: MemoryKind | None = None
    crew_id: StorableText | None = None
    session_id: StorableText | None = None
    agent: StorableText | None = None
    entity: StorableText | None = None
    q: Annotated[StorableText | None, Query(max_length=1000, description="Part of the text, in any case.")] = None


@router.post(PATH, status_code=201, summary="Save a memory record")
async def create_record(
    order: RecordIn, me: Operator, memory: TheMemory, request: Request, response: Response
) -> MemoryRecord:
    """The same text in the same place is kept once: saving it again renews the record."""
    if order.crew_id is not None:
        await check_crew(memory.crews, order.crew_id, bearer_token(request))
    [record] = await save(memory, me, [Draft(**dict(order))])
    response.headers["Location"] = f"{PATH}/{record.id}"
    set_etag(response, record.revision)
    return on_the_wire(record)


@router.get(PATH, summary="Browse memory records")
async def list_records(
    me: Viewer,
    memory: TheMemory,
    browse: Annotated[Browse, Depends()],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[MemoryRecord]:
    async with memory.database.tenant(me, read_only=True) as session:
        records, following = await page_of(session, _browsed(me, browse), Record, limit=limit, cursor=cursor)
    return Page(items=[on_the_wire(record) for record in records], next_cursor=following)


@router.get(PATH + "/{record_id}", summary="Read a memory record")
async def read_record(record_id: Id, me: Viewer, memory: TheMemory, response: Response) -> MemoryRecord:
    async with memory.database.tenant(me, read_only=True) as session:
        record = await session.scalar(_one(me, record_id))
    if record is None:
        raise NotFoundError("memory record", record_id)
    set_etag(response, record.revision)
    return on_the_wire(record)


@router.delete(PATH + "/{record_id}", status_code=204, summary="Delete a memory record")
async def delete_record(record_id: Id, me: Editor, memory: TheMemory) -> None:
    async with memory.database.tenant(me) as session:
        if not await _delete(session, _one(me, record_id)):
            raise NotFoundError("memory record", record_id)


@router.post("/api/v1/memory/clear", summary="Clear a part of the memory")
async def clear_records(order: ClearIn, me: Editor, memory: TheMemory) -> Cleared:
    chosen = _browsed(me, Browse(**dict(order)))
    async with memory.database.tenant(me) as session:
        return Cleared(deleted=await _delete(session, chosen))


class _KnownCrew(BaseModel):
    id: str = ""


async def check_crew(crews: Peer, crew_id: str, token: str) -> None:
    """Raises PeerRefusedError with the crews service's own 404, or NotFoundError where the id leads elsewhere."""
    crew = await crews.call("GET", f"/api/v1/crews/{quote(crew_id, safe='')}", _KnownCrew, token=token)
    if crew.id != crew_id:
        raise NotFoundError("crew", crew_id)


async def save(memory: Memory, me: Caller, drafts: Sequence[Draft]) -> list[Record]:
    """The records that hold the drafts, in their order."""
    vectors = await memory.embedder.embed([draft.text for draft in drafts])
    vector_of = {draft.digest: packed(vector) for draft, vector in zip(drafts, vectors, strict=True)}
    newest = {draft.digest: draft for draft in drafts}
    async with memory.database.tenant(me) as session:
        first_change = await _take_changes(session, len(newest))
        kept = await _kept(session, me, list(newest))
        for change, (digest, draft) in enumerate(newest.items(), start=first_change):
            record = kept.get(digest) or _new_record(me, draft, digest)
            record.crew_id = record.crew_id or draft.crew_id
            record.agent, record.details = draft.agent, draft.metadata
            record.embedder_id, record.vector = memory.embedder.id, vector_of[digest]
            record.change = change
            session.add(record)
        await session.flush()
        kept = await _kept(session, me, list(newest))
    memory.follower.nudge()
    return [kept[draft.digest] for draft in drafts]


async def _take_changes(session: AsyncSession, count: int) -> int:
    """The first of `count` fresh numbers. Whoever changes records waits here until those before have committed.

    So numbers are committed in their order and without a gap, which is what lets an index follow them.
    """
    taken = update(Clock).values(value=Clock.value + count).returning(Clock.value)
    return (await session.scalars(taken)).one() - count + 1


async def _kept(session: AsyncSession, me: Caller, digests: Sequence[str]) -> dict[str, Record]:
    rows = owned(Record, me).where(Record.digest.in_(digests)).execution_options(populate_existing=True)
    return {record.digest: record for record in await session.scalars(rows)}


def _new_record(me: Caller, draft: Draft, digest: str) -> Record:
    return Record(
        group_id=me.group_id,
        created_by=me.user_id,
        crew_id=draft.crew_id,
        identity=draft.identity,
        kind=draft.kind,
        session_id=draft.session_id,
        text=draft.text,
        entity=draft.entity,
        digest=digest,
    )


def _one(me: Caller, record_id: str) -> Select[Record]:
    return owned(Record, me).where(Record.id == record_id)


def _browsed(me: Caller, browse: Browse) -> Select[Record]:
    rows = owned(Record, me)
    equal = browse.model_dump(exclude={"q"}, exclude_none=True)
    for name, value in equal.items():
        rows = rows.where(getattr(Record, name) == value)
    return rows if browse.q is None else rows.where(Record.text.icontains(browse.q, autoescape=True))


async def _delete(session: AsyncSession, rows: Select[Record]) -> int:
    """How many of `rows` there were. Indexes forget them as searches come upon them."""
    # Waits for those who are renewing a record, so that none is deleted under their hands.
    await _take_changes(session, 0)
    gone = delete(Record).where(Record.id.in_(rows.with_only_columns(Record.id)))
    deleted = await session.execute(gone, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", deleted).rowcount


def on_the_wire(record: Record) -> MemoryRecord:
    return MemoryRecord(
        id=record.id,
        group_id=record.group_id,
        crew_id=record.crew_id,
        kind=record.kind,
        agent=record.agent,
        session_id=record.session_id,
        text=record.text,
        entity=record.entity,
        metadata=record.details,
        created_by=record.created_by,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )
