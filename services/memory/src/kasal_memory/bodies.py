"""Bodies and query parameters of requests."""

import json
import math
from typing import Annotated, Any, Literal

from kasal_contracts.crew import FilledText, Name
from kasal_contracts.memory import IdentityRecallIn, IdentityRemembersIn, MemoryKind, RecallIn
from kasal_contracts.wire import Frozen, JsonObject, Strict
from pydantic import AfterValidator, Field, StringConstraints, model_validator

MAX_DEPTH = 20
MAX_METADATA = 64_000

Id = Annotated[str, StringConstraints(min_length=1, max_length=64)]
SessionId = Annotated[str, StringConstraints(min_length=1, max_length=200)]
FilterKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]


def is_storable(text: str) -> bool:
    """PostgreSQL refuses U+0000 in text, and a lone surrogate has no UTF-8 form."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _storable(text: str) -> str:
    if not is_storable(text):
        raise ValueError("contains a character that cannot be stored")
    return text


def _small(metadata: JsonObject) -> JsonObject:
    if len(json.dumps(metadata)) > MAX_METADATA:
        raise ValueError(f"is more than {MAX_METADATA} characters as JSON")
    return metadata


Storable = Annotated[str, AfterValidator(_storable)]
Metadata = Annotated[JsonObject, AfterValidator(_small)]


class Body(Strict):
    """Refuses what no database keeps, wherever in the body it stands."""

    @model_validator(mode="before")
    @classmethod
    def _check_storable(cls, value: Any) -> Any:
        waiting: list[tuple[Any, int]] = [(value, 0)]
        while waiting:
            item, depth = waiting.pop()
            if depth > MAX_DEPTH:
                raise ValueError(f"is more than {MAX_DEPTH} levels deep")
            if isinstance(item, str):
                _storable(item)
            elif isinstance(item, float) and not math.isfinite(item):
                raise ValueError("NaN and infinity are not numbers in JSON")
            elif isinstance(item, dict):
                waiting += [(inner, depth + 1) for inner in (*item.keys(), *item.values())]
            elif isinstance(item, list):
                waiting += [(inner, depth + 1) for inner in item]
        return value


class RecordIn(Body):
    kind: Literal[MemoryKind.SHORT_TERM, MemoryKind.LONG_TERM, MemoryKind.ENTITY]
    text: FilledText
    crew_id: Id | None = None
    agent: Name | None = None
    session_id: SessionId | None = None
    entity: Name | None = None
    metadata: Metadata = Field(default={}, description="At most 64 kB as JSON.")


class SearchIn(Body, RecallIn):
    """Without a `crew_id`, what is shared in the group is searched; with one, that and the crew's own."""

    top_k: int = Field(default=5, ge=1, le=200)
    min_score: float | None = Field(default=None, ge=-1, le=1, description="Cosine similarity.")
    kinds: list[MemoryKind] | None = Field(default=None, min_length=1)
    crew_id: Id | None = None
    session_id: SessionId | None = None
    filters: dict[FilterKey, str | int | float | bool | None] = Field(
        default={}, max_length=10, description="Values that these keys of a record's metadata must have."
    )


class ClearIn(Body):
    """What is not named is not looked at: an empty body clears the whole memory of the group."""

    kind: MemoryKind | None = None
    crew_id: Id | None = None
    session_id: SessionId | None = None


class Cleared(Frozen):
    """The number of records that were deleted."""

    deleted: int


class ServiceRecallIn(Body, IdentityRecallIn):
    """From a worker, in the name of an execution."""


class ServiceRemembersIn(Body, IdentityRemembersIn):
    """From a worker, in the name of an execution."""
