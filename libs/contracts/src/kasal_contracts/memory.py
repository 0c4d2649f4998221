"""Memory records as they travel between the memory service, the worker and clients."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from .crew import FilledText, Name
from .wire import Frozen, JsonObject, Resource, Strict

CrewIdentity = Annotated[str, StringConstraints(min_length=1, max_length=128)]
"""Names a crew by what it is made of, so that its memory outlives a change of id."""


class MemoryKind(StrEnum):
    SHORT_TERM = "short_term"
    LONG_TERM = "long_term"
    ENTITY = "entity"
    DOCUMENT = "document"


class MemoryRecord(Resource):
    crew_id: str | None
    kind: MemoryKind
    agent: str | None
    session_id: str | None
    text: str
    entity: str | None
    metadata: JsonObject


class MemoryMatch(Frozen):
    """`score` is the cosine similarity, from -1 to 1."""

    record: MemoryRecord
    score: float


class RemembersIn(Strict):
    """Texts that one attempt wants kept, under the identity in its snapshot."""

    kind: MemoryKind = MemoryKind.SHORT_TERM
    texts: list[FilledText] = Field(min_length=1, max_length=100)
    agent: Name | None = None


class RecallIn(Strict):
    query: FilledText
    top_k: int = Field(default=5, ge=1, le=50)
    min_score: float | None = None


class IdentityRecallIn(RecallIn):
    """`RecallIn` from a worker, which adds crew identity and saved crew (where there is one) of the snapshot."""

    identity: CrewIdentity
    crew_id: str | None = None


class IdentityRemembersIn(RemembersIn):
    """`RemembersIn` from a worker. `crew_id` is the saved crew's id, where there is one."""

    identity: CrewIdentity
    crew_id: str | None = None
    session_id: str | None = None


class Remembered(Frozen):
    """The ids of the records that hold the texts, in the order of the texts."""

    ids: list[str]


class Matches(Frozen):
    items: list[MemoryMatch]
