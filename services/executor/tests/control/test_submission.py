"""Orders: what is stored before the answer, and what is refused."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from kasal_contracts.identity import Role
from kasal_executor.tables import Execution
from sqlalchemy import func, select

from .stage import CREW, Stage

URL = "/api/v1/execution"
ORDER = {"crew_id": "saved", "inputs": {"topic": "AI"}}


async def test_an_accepted_execution_is_durable_with_its_first_event(stage: Stage) -> None:
    answer = await stage.call("POST", URL, ORDER | {"priority": "high", "labels": {"team": "red"}})

    assert answer.status_code == 202
    made = answer.json()
    assert answer.headers["location"] == f"{URL}/{made['id']}"
    row = await stage.row(made["id"])
    assert (row.status, row.group_id, row.inputs, row.version) == ("queued", stage.group, {"topic": "AI"}, 3)
    log = await stage.get(f"{URL}/{made['id']}/events")
    assert [(event["id"], event["type"]) for event in log["items"]] == [(1, "execution.queued")]


async def test_the_answer_has_every_field_of_the_contract(stage: Stage) -> None:
    answer = await stage.call("POST", URL, ORDER | {"labels": {"team": "red"}, "name": "Nightly"})

    made = answer.json()
    expected = {
        "crew_id": "saved",
        "version": 3,
        "name": "Nightly",
        "status": "queued",
        "priority": "normal",
        "attempt": 1,
        "inputs": {"topic": "AI"},
        "result": None,
        "error": None,
        "usage": {"llm_calls": 0, "input_tokens": 0, "output_tokens": 0, "cost_usd": None},
        "resource_usage": {"wall_s": None, "cpu_s": None, "max_rss_mb": None},
        "queue_reason": None,
        "started_at": None,
        "ended_at": None,
        "parent_id": None,
        "labels": {"team": "red"},
        "group_id": stage.group,
    }
    assert {key: made[key] for key in expected} == expected
    assert {"id", "created_by", "created_at", "updated_at", "queued_at"} <= made.keys()


async def test_a_whole_crew_can_be_ordered_with_the_callers_own_token(stage: Stage) -> None:
    headers = stage.headers()
    body = {"crew": CREW.model_dump(mode="json"), "inputs": {"topic": "AI"}}
    answer = await stage.client.post(URL, json=body, headers=headers)

    assert answer.status_code == 202
    assert (answer.json()["crew_id"], answer.json()["name"]) == (None, "Two steps")
    assert stage.crews.tokens == [headers["Authorization"].removeprefix("Bearer ")]


async def test_watchers_hear_of_a_new_execution(stage: Stage) -> None:
    async with stage.watching(f"group.{stage.group}") as ear:
        execution_id = await stage.submit()
        change = await ear.message()

    assert (change.type, change.execution_id, change.status) == ("state.changed.v1", execution_id, "queued")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, ["body"]),
        ({"crew_id": "saved", "crew": {}}, ["body"]),
        ({"crew": {"name": "x"}, "version": 1}, ["body"]),
        (ORDER | {"priority": "urgent"}, ["body", "priority"]),
        (ORDER | {"colour": "red"}, ["body", "colour"]),
        (ORDER | {"limits": {"timeout_s": 0}}, ["body", "limits", "timeout_s"]),
        (ORDER | {"limits": {"max_cost_usd": 1}}, ["body", "limits", "max_cost_usd"]),
        ({"crew_id": "saved"}, ["body", "inputs", "topic"]),
        (ORDER | {"inputs": {"topic": "a\x00b"}}, ["body", "inputs"]),
        (ORDER | {"name": "a\x00b"}, ["body", "name"]),
        (ORDER | {"labels": {"a b": "c"}}, ["body", "labels", "a b", "[key]"]),
    ],
)
async def test_a_bad_order_is_refused_and_nothing_is_stored(
    stage: Stage, body: Mapping[str, Any], where: list[str]
) -> None:
    stage.crews.priced = False
    answer = await stage.call("POST", URL, body)

    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert where in [error["loc"] for error in answer.json()["errors"]]
    assert await stored(stage) == 0


async def test_text_that_is_no_unicode_is_refused(stage: Stage) -> None:
    body = b'{"crew_id": "saved", "inputs": {"topic": "\\ud800"}}'
    headers = stage.headers() | {"Content-Type": "application/json"}
    answer = await stage.client.post(URL, content=body, headers=headers)

    assert answer.status_code == 422, answer.text
    assert await stored(stage) == 0


async def test_what_the_crews_service_refuses_travels_through(stage: Stage) -> None:
    missing = await stage.call("POST", URL, {"crew_id": "missing"})
    broken = await stage.call("POST", URL, {"crew": {"name": "Empty", "tasks": []}})

    assert (missing.status_code, broken.status_code) == (404, 422)
    assert broken.json()["detail"] == "the crew has no task"
    assert await stored(stage) == 0


async def test_a_cost_limit_is_fine_where_every_model_has_a_price(stage: Stage) -> None:
    answer = await stage.call("POST", URL, ORDER | {"limits": {"max_cost_usd": 0.5}})

    assert answer.status_code == 202
    assert answer.json()["limits"]["max_cost_usd"] == 0.5


async def test_a_viewer_may_not_order(stage: Stage) -> None:
    answer = await stage.call("POST", URL, ORDER, role=Role.VIEWER)

    assert answer.status_code == 403


async def test_the_same_key_and_body_answers_with_the_first_execution(stage: Stage) -> None:
    key = {"Idempotency-Key": "order-1"}
    first = await stage.call("POST", URL, ORDER, headers=key)
    again = await stage.call("POST", URL, ORDER, headers=key)

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["location"] == first.headers["location"]
    assert await stored(stage) == 1


async def test_the_same_key_with_another_body_is_a_conflict(stage: Stage) -> None:
    key = {"Idempotency-Key": "order-1"}
    await stage.call("POST", URL, ORDER, headers=key)
    other = await stage.call("POST", URL, ORDER | {"name": "Other"}, headers=key)

    assert other.status_code == 409
    assert await stored(stage) == 1


async def test_keys_of_two_callers_never_meet(stage: Stage) -> None:
    key = {"Idempotency-Key": "order-1"}
    mine = await stage.call("POST", URL, ORDER, headers=key)
    theirs = await stage.call("POST", URL, ORDER, headers=key, user="somebody else")

    assert theirs.status_code == 202
    assert mine.json()["id"] != theirs.json()["id"]


async def test_concurrent_orders_with_one_key_make_one_execution(stage: Stage) -> None:
    key = {"Idempotency-Key": "order-1"}
    answers = await asyncio.gather(*(stage.call("POST", URL, ORDER, headers=key) for _ in range(8)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await stored(stage) == 1


async def test_a_retry_is_a_new_execution_of_the_same_order(stage: Stage) -> None:
    first = await stage.submit(labels={"team": "red"}, priority="low", limits={"max_attempts": 1})
    refused = await stage.call("POST", f"{URL}/{first}/retry")
    await stage.call("POST", f"{URL}/{first}/cancel")
    answer = await stage.call("POST", f"{URL}/{first}/retry")

    assert (refused.status_code, answer.status_code) == (409, 202)
    again = answer.json()
    assert again["id"] != first
    assert (again["parent_id"], again["status"], again["inputs"]) == (first, "queued", {"topic": "AI"})
    assert (again["labels"], again["priority"], again["limits"]["max_attempts"]) == ({"team": "red"}, "low", 1)


async def stored(stage: Stage) -> int:
    async with stage.database.system(read_only=True) as session:
        count = await session.scalar(select(func.count()).select_from(Execution))
    return count or 0
