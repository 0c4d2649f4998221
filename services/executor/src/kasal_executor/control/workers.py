"""`GET /workers`: who works, and whose lease is alive."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from kasal_contracts.errors import NotFoundError
from kasal_contracts.executions import Status
from kasal_contracts.pages import Page
from kasal_db import db_now
from kasal_db.paging import decode_cursor, encode_cursor
from kasal_runtime.paging import DEFAULT_LIMIT, Cursor, Limit
from kasal_runtime.security import FromService, SystemAdmin
from sqlalchemy import select

from kasal_executor.tables import Execution, Worker

from .control import ThisControl
from .texts import clean_text
from .views import LARGEST_INT, WorkerOut

router = APIRouter(tags=["workers"])


@router.get("/api/v1/workers", summary="Workers and their heartbeats, by id")
async def list_workers(
    me: SystemAdmin, control: ThisControl, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[WorkerOut]:
    del me
    rows = select(Worker, db_now()).order_by(Worker.id).limit(limit + 1)
    if cursor is not None:
        rows = rows.where(Worker.id > decode_cursor(cursor))
    async with control.database.system(read_only=True) as session:
        found = [
            WorkerOut(
                id=worker.id,
                host=worker.host,
                pid=worker.pid,
                slots=worker.slots,
                running=worker.running,
                draining=worker.draining,
                started_at=worker.started_at,
                heartbeat_age_s=round(max((now - worker.beat_at) / timedelta(seconds=1), 0), 3),
            )
            for worker, now in await session.execute(rows)
        ]
    following = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return Page(items=found[:limit], next_cursor=following)


@router.get("/internal/executions/{execution_id}/lease", status_code=204, summary="Whether an attempt's lease is alive")
async def check_lease(
    execution_id: str,
    attempt: Annotated[int, Query(ge=1, le=LARGEST_INT)],
    caller: FromService,
    control: ThisControl,
) -> None:
    del caller
    alive = select(Execution.id).where(
        Execution.id == clean_text(execution_id),
        Execution.attempt == attempt,
        Execution.status == Status.RUNNING,
        Execution.lease_until > db_now(),
    )
    async with control.database.system(read_only=True) as session:
        if await session.scalar(alive) is None:
            raise NotFoundError("live lease", execution_id)
