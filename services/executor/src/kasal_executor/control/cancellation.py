"""Cancelling, in every state: at once while nothing runs, else by asking the worker that runs it."""

from datetime import UTC, datetime

from kasal_contracts.errors import ConflictError
from kasal_contracts.executions import Status
from kasal_contracts.identity import Caller

from kasal_executor.tables import Execution

from .control import Control
from .lookup import find_execution
from .storage import locked, save


async def cancel(control: Control, me: Caller, execution_id: str) -> None:
    """Raises NotFoundError, and ConflictError where it has ended."""
    async with control.database.tenant(me) as session:
        found = await find_execution(session, me, execution_id)
        [change] = await locked(session, Execution.id == found.id)
        row = change.row
        if row.status.is_end:
            raise ConflictError(f"the execution is {row.status} already")
        if row.status == Status.RUNNING:
            row.cancel_asked_at = row.cancel_asked_at or datetime.now(UTC)
        else:
            change.cancel()
        await save(session, [change])
    if row.status == Status.RUNNING:
        await control.announcer.cancel_asked(row.id, row.attempt)
    else:
        await control.announcer.announce([change])
