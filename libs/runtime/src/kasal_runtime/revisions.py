"""Optimistic concurrency: `ETag` is the revision of a row, `If-Match` guards a change (RFC 9110, section 13)."""

from typing import Annotated

from fastapi import Header, Response
from kasal_contracts.errors import StaleError

IfMatch = Annotated[str | None, Header(alias="If-Match", description="The ETag that was read; stale answers 412.")]


def set_etag(response: Response, revision: int) -> None:
    response.headers["ETag"] = f'"{revision}"'


def check_match(if_match: str | None, revision: int) -> None:
    """Raises StaleError unless `if_match` is absent, `*` or names `revision`."""
    if if_match is None or if_match.strip() == "*":
        return
    tags = {tag.strip().removeprefix("W/") for tag in if_match.split(",")}
    if f'"{revision}"' not in tags:
        raise StaleError
