"""`/execution`: ordering executions, finding them, ending them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from kasal_contracts.errors import ConflictError
from kasal_contracts.executions import Limits, Snapshot, Status
from kasal_contracts.identity import Caller
from kasal_contracts.pages import Page
from kasal_contracts.wire import Timestamp
from kasal_db import owned, page_of
from kasal_runtime.paging import DEFAULT_LIMIT, Cursor, Limit
from kasal_runtime.revisions import set_etag
from kasal_runtime.security import Operator, Viewer, bearer_token
from pydantic import BaseModel
from sqlalchemy import Select, delete

from kasal_executor.tables import Execution, IdempotencyKey

from .cancellation import cancel
from .control import Control, ThisControl
from .lookup import find_execution
from .submission import Order, place, submit
from .texts import clean_text
from .views import ExecutionIn, ExecutionOut

router = APIRouter(prefix="/api/v1/execution", tags=["executions"])

Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", max_length=255, description="For 24 hours it answers with the first execution."),
]


class Filters(BaseModel):
    """`label` is `key=value` (or `key:value`), or a key alone; all that are given must match."""

    status: list[Status] = []
    crew_id: str | None = None
    created_by: str | None = None
    since: Timestamp | None = None
    until: Timestamp | None = None
    label: list[str] = []

    def narrow(self, rows: Select[Execution]) -> Select[Execution]:
        if self.status:
            rows = rows.where(Execution.status.in_(self.status))
        if self.crew_id is not None:
            rows = rows.where(Execution.crew_id == clean_text(self.crew_id))
        if self.created_by is not None:
            rows = rows.where(Execution.created_by == clean_text(self.created_by))
        if self.since is not None:
            rows = rows.where(Execution.created_at >= self.since)
        if self.until is not None:
            rows = rows.where(Execution.created_at < self.until)
        for label in self.label:
            rows = _with_label(rows, label)
        return rows


def _filters(
    status: Annotated[list[Status], Query(description="May be given several times.")] = [],  # noqa: B006
    crew_id: str | None = None,
    created_by: str | None = None,
    since: Timestamp | None = None,
    until: Timestamp | None = None,
    label: Annotated[list[str], Query(max_length=20, description="`key=value`, or a key alone.")] = [],  # noqa: B006
) -> Filters:
    return Filters(status=status, crew_id=crew_id, created_by=created_by, since=since, until=until, label=label)


@router.post("", status_code=202, summary="Run a crew")
async def submit_execution(
    order: ExecutionIn, me: Operator, control: ThisControl, request: Request, response: Response, key: Key = None
) -> ExecutionOut:
    return _ordered(await submit(control, me, bearer_token(request), order, key), response)


@router.get("", summary="List executions, newest first")
async def list_executions(
    me: Viewer,
    control: ThisControl,
    filters: Annotated[Filters, Depends(_filters)],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[ExecutionOut]:
    rows = filters.narrow(owned(Execution, me))
    async with control.database.tenant(me, read_only=True) as session:
        found, following = await page_of(session, rows, Execution, limit=limit, cursor=cursor)
    return Page(items=[ExecutionOut.of(row) for row in found], next_cursor=following)


@router.get("/{execution_id}", summary="Look at an execution")
async def read_execution(execution_id: str, me: Viewer, control: ThisControl, response: Response) -> ExecutionOut:
    async with control.database.tenant(me, read_only=True) as session:
        execution = await find_execution(session, me, execution_id)
    set_etag(response, execution.revision)
    return ExecutionOut.of(execution)


@router.delete("/{execution_id}", status_code=204, summary="Delete an execution that has ended")
async def delete_execution(execution_id: str, me: Operator, control: ThisControl) -> None:
    async with control.database.tenant(me) as session:
        execution = await find_execution(session, me, execution_id)
        if not execution.status.is_end:
            raise ConflictError(f"the execution is {execution.status}; cancel it first")
        await session.execute(delete(IdempotencyKey).where(IdempotencyKey.execution_id == execution.id))
        await session.execute(delete(Execution).where(Execution.id == execution.id))


@router.post("/{execution_id}/cancel", status_code=202, summary="Cancel an execution")
async def cancel_execution(execution_id: str, me: Operator, control: ThisControl) -> ExecutionOut:
    await cancel(control, me, execution_id)
    async with control.database.tenant(me, read_only=True) as session:
        return ExecutionOut.of(await find_execution(session, me, execution_id))


@router.post("/{execution_id}/retry", status_code=202, summary="Run the same version with the same inputs again")
async def retry_execution(execution_id: str, me: Operator, control: ThisControl, response: Response) -> ExecutionOut:
    return _ordered(await retry(control, me, execution_id), response)


async def retry(control: Control, me: Caller, execution_id: str) -> Execution:
    async with control.database.tenant(me, read_only=True) as session:
        first = await find_execution(session, me, execution_id)
        await session.refresh(first, ["snapshot"])
    if not first.status.is_end:
        raise ConflictError(f"the execution is {first.status}; it can be run again once it has ended")
    order = Order(
        snapshot=Snapshot.model_validate(first.snapshot),
        inputs=first.inputs,
        name=first.name,
        priority=first.priority,
        limits=Limits.model_validate(first.limits),
        labels=first.labels,
        parent_id=first.id,
    )
    return await place(control, me, order)


def _ordered(execution: Execution, response: Response) -> ExecutionOut:
    response.headers["Location"] = f"/api/v1/execution/{execution.id}"
    set_etag(response, execution.revision)
    return ExecutionOut.of(execution)


def _with_label(rows: Select[Execution], label: str) -> Select[Execution]:
    key, separator, value = label.partition("=" if "=" in label else ":")
    found = Execution.labels[clean_text(key)].as_string()
    return rows.where(found == clean_text(value) if separator else found.is_not(None))
