"""The bases of everything on the wire, and the types that they share."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, JsonValue, PlainSerializer


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a timestamp needs a time zone")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a timestamp lies within the years 1 to 9999 in UTC") from error


Timestamp = Annotated[
    datetime,
    AfterValidator(_utc),
    PlainSerializer(lambda at: at.isoformat().replace("+00:00", "Z"), when_used="json"),
]
"""RFC 3339 in UTC, as in `2026-01-31T12:00:00.123456Z`."""

JsonObject = dict[str, JsonValue]


class Frozen(BaseModel):
    """A value that never changes: messages, events, identity."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )


class Strict(BaseModel):
    """What a client sends: an unknown field is refused, so that a typing error is seen."""

    model_config = ConfigDict(extra="forbid", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)


class Resource(Frozen):
    """What every resource carries and only its service writes."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    group_id: str
    created_by: str
    created_at: Timestamp
    updated_at: Timestamp
