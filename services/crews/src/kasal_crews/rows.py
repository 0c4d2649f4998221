"""What is done with every row: finding one, finding one to change it, and making it final."""

from typing import TypeVar

from kasal_contracts.errors import NotFoundError
from kasal_contracts.identity import Caller
from kasal_db import Owned, owned
from kasal_runtime.revisions import check_match
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

Row = TypeVar("Row", bound=Owned)


async def find(session: AsyncSession, me: Caller, table: type[Row], row_id: str, kind: str) -> Row:
    """Raises NotFoundError, also for what belongs to another group."""
    return await _found(session, owned(table, me).where(table.id == row_id), row_id, kind)


async def find_to_change(
    session: AsyncSession, me: Caller, table: type[Row], row_id: str, kind: str, if_match: str | None
) -> Row:
    """Other writers wait from now on. Raises NotFoundError, StaleError."""
    row = await _found(session, owned(table, me).where(table.id == row_id).with_for_update(), row_id, kind)
    check_match(if_match, row.revision)
    return row


async def _found(session: AsyncSession, rows: Select[Row], row_id: str, kind: str) -> Row:
    row = await session.scalar(rows)
    if row is None:
        raise NotFoundError(kind, row_id)
    return row


async def flushed(session: AsyncSession, row: Row) -> Row:
    """`row` as the database now has it, with its times and its revision."""
    await session.flush()
    await session.refresh(row)
    return row
