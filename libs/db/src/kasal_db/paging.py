"""Keyset pages: newest first, by id."""

import base64
import binascii
from typing import TypeVar

from kasal_contracts.errors import InvalidError
from kasal_contracts.problems import FieldError
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

from .tenancy import Owned

OwnedRow = TypeVar("OwnedRow", bound=Owned)


async def page_of(
    session: AsyncSession, rows: Select[OwnedRow], table: type[OwnedRow], *, limit: int, cursor: str | None
) -> tuple[list[OwnedRow], str | None]:
    """Up to `limit` rows, newest first, and the cursor of what follows. Ids are made in order of time."""
    if cursor is not None:
        rows = rows.where(table.id < decode_cursor(cursor))
    found = list(await session.scalars(rows.order_by(table.id.desc()).limit(limit + 1)))
    if len(found) <= limit:
        return found, None
    return found[:limit], encode_cursor(found[limit - 1].id)


def encode_cursor(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """Raises InvalidError for text that is not a cursor of ours."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError) as error:
        raise _bad_cursor() from error
    if not text or "\x00" in text:
        raise _bad_cursor()
    return text


def _bad_cursor() -> InvalidError:
    reason = FieldError(loc=["query", "cursor"], msg="not a cursor; take it from next_cursor of a page")
    return InvalidError("the cursor is not valid", errors=[reason])
