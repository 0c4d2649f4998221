"""Finding one execution of the caller's group."""

from kasal_contracts.errors import NotFoundError
from kasal_contracts.identity import Caller
from kasal_db import owned
from sqlalchemy.ext.asyncio import AsyncSession

from kasal_executor.tables import Execution

from .texts import clean_text


async def find_execution(session: AsyncSession, me: Caller, execution_id: str) -> Execution:
    """Raises NotFoundError, also for what belongs to another group."""
    execution = await session.scalar(owned(Execution, me).where(Execution.id == clean_text(execution_id)))
    if execution is None:
        raise NotFoundError("execution", execution_id)
    return execution
