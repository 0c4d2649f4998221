"""The two things that are done with every row: finding one and making it final."""

from typing import TypeVar

from kasal_contracts.errors import NotFoundError
from kasal_contracts.identity import Caller
from kasal_db import Owned, owned
from sqlalchemy.ext.asyncio import AsyncSession

from .bodies import is_text

Row = TypeVar("Row", bound=Owned)


async def find(
    session: AsyncSession, me: Caller, table: type[Row], row_id: str, kind: str, *, to_change: bool = False
) -> Row:
    """Raises NotFoundError, also for what belongs to another group. `to_change` lets other writers wait."""
    rows = owned(table, me).where(table.id == row_id)
    row = await session.scalar(rows.with_for_update() if to_change else rows) if is_text(row_id) else None
    if row is None:
        raise NotFoundError(kind, row_id)
    return row


async def flushed(session: AsyncSession, row: Row) -> Row:
    """`row` as the database now has it, with its times and its revision."""
    await session.flush()
    await session.refresh(row)
    return row
