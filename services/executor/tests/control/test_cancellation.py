"""Cancelling in every state, and deleting afterwards."""

from datetime import timedelta

import pytest
from kasal_contracts.executions import ErrorCode, Status
from kasal_contracts.messages import CancelAsked
from kasal_executor.tables import Execution
from sqlalchemy import update

from .stage import Stage, ended, event, succeeded

URL = "/api/v1/execution"


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RETRYING, Status.WAITING])
async def test_what_does_not_run_is_cancelled_at_once(stage: Stage, status: Status) -> None:
    execution_id = await stage.submit()
    async with stage.database.system() as session:
        await session.execute(update(Execution).where(Execution.id == execution_id).values(status=status))
    async with stage.watching(execution_id) as ear:
        answer = await stage.call("POST", f"{URL}/{execution_id}/cancel")
        await ear.event("execution.cancelled")

    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    assert answer.json()["error"]["code"] == "cancelled"
    assert not await stage.claim(execution_id)


async def test_the_worker_of_a_running_execution_is_asked(stage: Stage) -> None:
    execution_id = await stage.submitted_and_claimed()
    async with stage.signals(execution_id) as ear:
        answer = await stage.call("POST", f"{URL}/{execution_id}/cancel")
        asked = await ear.message()

    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    assert asked == CancelAsked(execution_id=execution_id, attempt=1)
    assert (await stage.row(execution_id)).cancel_asked_at is not None


async def test_a_cancelled_attempt_ends_cancelled_with_what_it_had_done(stage: Stage) -> None:
    execution_id = await stage.submitted_and_claimed()
    await stage.call("POST", f"{URL}/{execution_id}/cancel")
    async with stage.watching(execution_id) as ear:
        await stage.report(
            execution_id,
            [event(1, "task.completed", task="first", output="half")],
            outcome=ended(Status.FAILED, 1, ErrorCode.CANCELLED),
        )
        await ear.event("execution.cancelled")

    seen = await stage.get(f"{URL}/{execution_id}")
    assert (seen["status"], seen["error"]["code"]) == ("cancelled", "cancelled")
    assert seen["result"]["tasks"][0]["output"] == "half"


async def test_what_succeeded_before_it_heard_of_the_cancel_has_succeeded(stage: Stage) -> None:
    execution_id = await stage.submitted_and_claimed()
    await stage.call("POST", f"{URL}/{execution_id}/cancel")
    async with stage.watching(execution_id) as ear:
        await stage.report(execution_id, outcome=succeeded(0))
        await ear.event("execution.succeeded")

    assert (await stage.row(execution_id)).status == Status.SUCCEEDED


async def test_a_cancel_whose_worker_is_lost_ends_cancelled(stage: Stage) -> None:
    execution_id = await stage.submit()
    async with stage.watching(execution_id) as ear:
        await stage.claim(execution_id, lease=timedelta(seconds=1))
        await stage.call("POST", f"{URL}/{execution_id}/cancel")
        await ear.event("execution.cancelled")

    row = await stage.row(execution_id)
    assert (row.status, row.attempt) == (Status.CANCELLED, 1)


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.TIMED_OUT])
async def test_what_has_ended_cannot_be_cancelled_but_deleted(stage: Stage, status: Status) -> None:
    execution_id = await stage.submitted_and_claimed()
    early = await stage.call("DELETE", f"{URL}/{execution_id}")
    async with stage.watching(execution_id) as ear:
        outcome = succeeded(0) if status == Status.SUCCEEDED else ended(status, 0, "x")
        await stage.report(execution_id, outcome=outcome)
        await ear.event(f"execution.{status}")
    late = await stage.call("POST", f"{URL}/{execution_id}/cancel")
    deleted = await stage.call("DELETE", f"{URL}/{execution_id}")
    gone = await stage.call("GET", f"{URL}/{execution_id}")

    assert (early.status_code, late.status_code) == (409, 409)
    assert (deleted.status_code, gone.status_code) == (204, 404)
