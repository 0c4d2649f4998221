"""Leases: who holds one, and what happens when it runs out."""

from datetime import timedelta
from typing import Any

from kasal_contracts.executions import Status
from kasal_contracts.identity import Act
from kasal_db import db_now
from kasal_executor.control.reaper import Watch
from kasal_executor.tables import Execution, Worker
from sqlalchemy import update

from .stage import Stage, event, events, succeeded

URL = "/api/v1/execution"
SHORT = timedelta(milliseconds=300)


async def test_a_lost_lease_becomes_the_next_attempt(stage: Stage) -> None:
    execution_id = await stage.submit()
    async with stage.watching(execution_id) as ear:
        await stage.claim(execution_id, lease=SHORT)
        await stage.report(execution_id, [event(1, "task.started")])
        retrying = await ear.event("execution.retrying")
        assert await stage.claim(execution_id)
        await stage.report(execution_id, [event(2, "task.completed")], outcome=succeeded(2))
        await stage.report(execution_id, events("task.started", "log"), attempt=2, outcome=succeeded(2))
        await ear.event("execution.succeeded")

    assert retrying.data == {"reason": "worker_lost", "next_attempt": 2}
    page = await stage.get(f"{URL}/{execution_id}/events")
    assert [(each["id"], each["attempt"], each["type"]) for each in page["items"]] == [
        (1, 1, "execution.queued"),
        (2, 1, "task.started"),
        (3, 1, "execution.retrying"),
        (4, 2, "task.started"),
        (5, 2, "log"),
        (6, 2, "execution.succeeded"),
    ]
    assert (await stage.row(execution_id)).lost_leases == 1


async def test_a_lease_that_is_renewed_is_left_alone(stage: Stage) -> None:
    lost, held = await stage.submit(), await stage.submitted_and_claimed()
    async with stage.watching(lost) as ear:
        await stage.claim(lost, lease=SHORT)
        await ear.event("execution.retrying")

    row = await stage.row(held)
    assert (row.status, row.attempt) == (Status.RUNNING, 1)


async def test_the_tenth_lost_worker_is_the_last(stage: Stage) -> None:
    execution_id = await stage.submit()
    async with stage.database.system() as session:
        await session.execute(update(Execution).where(Execution.id == execution_id).values(lost_leases=9))
    async with stage.watching(execution_id) as ear:
        await stage.claim(execution_id, lease=SHORT)
        await ear.event("execution.failed")

    seen = await stage.get(f"{URL}/{execution_id}")
    assert (seen["status"], seen["error"]["code"], seen["attempt"]) == ("failed", "worker_lost", 1)


async def test_events_that_waited_for_a_lost_attempt_are_forgotten(stage: Stage) -> None:
    execution_id = await stage.submit()
    async with stage.watching(execution_id) as ear:
        await stage.claim(execution_id, lease=timedelta(seconds=1))
        await stage.report(execution_id, [event(2, "tool.started")])
        await ear.event("execution.retrying")
        await stage.claim(execution_id)
        await stage.report(execution_id, [event(1, "task.started")], attempt=2, outcome=succeeded(1))
        await ear.event("execution.succeeded")

    types = [each.type for each in ear.events]
    assert types == ["execution.retrying", "task.started", "execution.succeeded"]


def test_a_watch_trusts_itself_only_after_an_unbroken_span() -> None:
    watch = Watch()
    assert not watch.lasted(timedelta(0))
    watch.saw()
    assert watch.lasted(timedelta(0))
    assert not watch.lasted(timedelta(hours=1))
    watch.missed()
    assert not watch.lasted(timedelta(0))


async def test_a_live_lease_is_told_to_services_alone(stage: Stage) -> None:
    execution_id = await stage.submitted_and_claimed()
    act = Act(group_id=stage.group, user_id="user-1", execution_id=execution_id, attempt=1)
    service = {"Authorization": f"Bearer {stage.issuer.service_token('executor', act, 'auth')}"}

    async def asked(attempt: int, headers: dict[str, str], id_: str = execution_id) -> int:
        path = f"/internal/executions/{id_}/lease?attempt={attempt}"
        return (await stage.client.get(path, headers=headers)).status_code

    assert await asked(1, service) == 204
    assert await asked(2, service) == 404
    assert await asked(1, service, "unknown") == 404
    assert await asked(1, stage.headers()) == 403
    async with stage.database.system() as session:
        expired = update(Execution).where(Execution.id == execution_id).values(lease_until=db_now(-SHORT))
        await session.execute(expired)
    assert await asked(1, service) == 404


async def test_workers_are_shown_to_a_system_admin(stage: Stage) -> None:
    await stage.add_worker(slots=4)
    async with stage.database.system() as session:
        await session.execute(update(Worker).values(running=3, beat_at=db_now(timedelta(seconds=-60))))
    refused = await stage.call("GET", "/api/v1/workers")
    answer = await stage.call("GET", "/api/v1/workers", system_admin=True)

    assert (refused.status_code, answer.status_code) == (403, 200)
    [worker] = answer.json()["items"]
    assert (worker["id"], worker["slots"], worker["running"], worker["draining"]) == ("worker-1", 4, 3, False)
    assert 59 < worker["heartbeat_age_s"] < 90


async def test_workers_are_listed_page_by_page(stage: Stage) -> None:
    for name in ("worker-b", "worker-a", "worker-c"):
        await stage.add_worker(slots=1, worker_id=name)

    async def page(query: str) -> Any:
        return (await stage.call("GET", f"/api/v1/workers?limit=2{query}", system_admin=True)).json()

    first = await page("")
    rest = await page(f"&cursor={first['next_cursor']}")
    refused = await stage.call("GET", "/api/v1/workers?limit=201", system_admin=True)

    assert [worker["id"] for worker in first["items"] + rest["items"]] == ["worker-a", "worker-b", "worker-c"]
    assert (rest["next_cursor"], refused.status_code) == (None, 422)
