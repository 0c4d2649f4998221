"""Bodies of requests."""

import json
from typing import Annotated, Literal

from kasal_contracts.crew import FilledText, Name
from kasal_contracts.memory import IdentityRecallIn, IdentityRemembersIn, MemoryKind, RecallIn
from kasal_contracts.wire import Frozen, JsonObject
from kasal_runtime.bodies import Body
from pydantic import AfterValidator, Field, StringConstraints

MAX_METADATA = 64_000

CrewId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
SessionId = Annotated[str, StringConstraints(min_length=1, max_length=200)]
FilterKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]


def _small(metadata: JsonObject) -> JsonObject:
    if len(json.dumps(metadata)) > MAX_METADATA:
        raise ValueError(f"is more than {MAX_METADATA} characters as JSON")
    return metadata


Metadata = Annotated[JsonObject, AfterValidator(_small)]


class RecordIn(Body):
    kind: Literal[MemoryKind.SHORT_TERM, MemoryKind.LONG_TERM, MemoryKind.ENTITY]
    text: FilledText
    crew_id: CrewId | None = None
    agent: Name | None = None
    session_id: SessionId | None = None
    entity: Name | None = None
    metadata: Metadata = Field(default={}, description="At most 64 kB as JSON.")


class SearchIn(Body, RecallIn):
    """Without a `crew_id`, what is shared in the group is searched; with one, that and the crew's own."""

    top_k: int = Field(default=5, ge=1, le=200)
    min_score: float | None = Field(default=None, ge=-1, le=1, description="Cosine similarity.")
    kinds: list[MemoryKind] | None = Field(default=None, min_length=1)
    crew_id: CrewId | None = None
    session_id: SessionId | None = None
    filters: dict[FilterKey, str | int | float | bool | None] = Field(
        default={}, max_length=10, description="Values that these keys of a record's metadata must have."
    )


class ClearIn(Body):
    """What is not named is not looked at: an empty body clears the whole memory of the group."""

    kind: MemoryKind | None = None
    crew_id: CrewId | None = None
    session_id: SessionId | None = None


class Cleared(Frozen):
    """The number of records that were deleted."""

    deleted: int


class ServiceRecallIn(Body, IdentityRecallIn):
    """From a worker, in the name of an execution."""


class ServiceRemembersIn(Body, IdentityRemembersIn):
    """From a worker, in the name of an execution."""
