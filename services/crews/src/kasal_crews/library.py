"""What agents and tasks that are saved on their own share: a document each, to copy into crews from."""

from typing import TypeVar

from kasal_contracts.identity import Caller
from kasal_contracts.wire import JsonObject, Resource
from kasal_db import owned, page_of
from kasal_runtime.bodies import Writable
from sqlalchemy.ext.asyncio import AsyncSession

from .rows import flushed
from .tables import LibraryRow

Row = TypeVar("Row", bound=LibraryRow)
Item = TypeVar("Item", bound=Resource)


async def add(session: AsyncSession, me: Caller, table: type[Row], form: Writable) -> Row:
    row = table(group_id=me.group_id, created_by=me.user_id, document=_document(form))
    session.add(row)
    return await flushed(session, row)


async def rewrite(session: AsyncSession, row: Row, form: Writable) -> Row:
    row.document = _document(form)
    return await flushed(session, row)


async def page(
    session: AsyncSession, me: Caller, table: type[Row], item: type[Item], *, limit: int, cursor: str | None
) -> tuple[list[Item], str | None]:
    rows, next_cursor = await page_of(session, owned(table, me), table, limit=limit, cursor=cursor)
    return [shown(row, item) for row in rows], next_cursor


def shown(row: LibraryRow, item: type[Item]) -> Item:
    return item.model_validate(row.document | {name: getattr(row, name) for name in Resource.model_fields})


def _document(form: Writable) -> JsonObject:
    content: JsonObject = form.model_dump(mode="json")
    return content
