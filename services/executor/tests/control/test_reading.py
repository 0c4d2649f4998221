"""Lists, filters, pages, and what other groups see: nothing."""

from datetime import UTC, datetime, timedelta

import pytest
from kasal_contracts.executions import Status

from .stage import Stage, ended, events, succeeded

URL = "/api/v1/execution"
UNKNOWN = ["no-such-id", "x" * 500, "%00", "%F0%9F%A6%8A", "a'b", "01890000-0000-7000-8000-000000000000"]


async def ids(stage: Stage, query: str = "") -> list[str]:
    return [each["id"] for each in (await stage.get(f"{URL}{query}"))["items"]]


async def test_the_newest_come_first_and_pages_go_on(stage: Stage) -> None:
    made = [await stage.submit() for _ in range(5)]
    first = await stage.get(f"{URL}?limit=3")
    rest = await stage.get(f"{URL}?limit=3&cursor={first['next_cursor']}")

    assert [each["id"] for each in first["items"] + rest["items"]] == made[::-1]
    assert rest["next_cursor"] is None


async def test_filters_narrow_the_list(stage: Stage) -> None:
    start = datetime.now(UTC) - timedelta(seconds=5)
    red = await stage.submit(labels={"team": "red", "a/b.c": "x:y"})
    blue = await stage.submit(labels={"team": "blue"})
    await stage.call("POST", f"{URL}/{blue}/cancel")
    past = (start - timedelta(hours=1)).isoformat().replace("+00:00", "Z")

    assert await ids(stage, "?status=queued") == [red]
    assert await ids(stage, "?status=queued&status=cancelled") == [blue, red]
    assert await ids(stage, "?label=team=red") == await ids(stage, "?label=team:red") == [red]
    assert await ids(stage, "?label=team") == [blue, red]
    assert await ids(stage, "?label=team=red&label=a/b.c=x:y") == [red]
    assert await ids(stage, "?label=team=green") == await ids(stage, '?label=a"b') == []
    assert await ids(stage, "?crew_id=saved&created_by=user-1") == [blue, red]
    assert await ids(stage, "?crew_id=other") == await ids(stage, "?created_by=%00") == []
    assert await ids(stage, f"?until={past}") == []
    assert await ids(stage, f"?since={past}") == [blue, red]


@pytest.mark.parametrize("query", ["?status=odd", "?limit=0", "?limit=201", "?cursor=%25", "?since=yesterday"])
async def test_a_filter_that_makes_no_sense_is_refused(stage: Stage, query: str) -> None:
    answer = await stage.call("GET", URL + query)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_etag_changes_with_the_execution(stage: Stage) -> None:
    execution_id = await stage.submitted_and_claimed()
    before = await stage.call("GET", f"{URL}/{execution_id}")
    async with stage.watching(execution_id) as ear:
        await stage.report(execution_id, outcome=succeeded(0))
        await ear.event("execution.succeeded")
    after = await stage.call("GET", f"{URL}/{execution_id}")

    assert before.headers["etag"] != after.headers["etag"]


async def test_the_event_log_is_read_from_any_id_on(stage: Stage) -> None:
    execution_id = await stage.submitted_and_claimed()
    async with stage.watching(execution_id) as ear:
        await stage.report(execution_id, events(*["log"] * 5), outcome=succeeded(5))
        await ear.event("execution.succeeded")
    first = await stage.get(f"{URL}/{execution_id}/events?limit=4")
    rest = await stage.get(f"{URL}/{execution_id}/events?after={first['next_cursor']}")
    same = await stage.get(f"{URL}/{execution_id}/events?after=1&cursor={first['next_cursor']}")
    none = await stage.get(f"{URL}/{execution_id}/events?after=2147483647")

    assert [each["id"] for each in first["items"] + rest["items"]] == [1, 2, 3, 4, 5, 6, 7]
    assert same == rest
    assert (rest["next_cursor"], none) == (None, {"items": [], "next_cursor": None})


@pytest.mark.parametrize("query", ["after=-1", "after=99999999999", "limit=1001", "after=x", "cursor=x"])
async def test_an_impossible_place_in_the_log_is_refused(stage: Stage, query: str) -> None:
    execution_id = await stage.submit()
    answer = await stage.call("GET", f"{URL}/{execution_id}/events?{query}")

    assert answer.status_code == 422


ROUTES = [
    ("GET", ""),
    ("DELETE", ""),
    ("POST", "/cancel"),
    ("POST", "/retry"),
    ("GET", "/events"),
    ("GET", "/logs"),
    ("GET", "/trace"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_another_groups_execution_is_not_found(stage: Stage, method: str, path: str) -> None:
    execution_id = await stage.submitted_and_claimed()
    async with stage.watching(execution_id) as ear:
        await stage.report(execution_id, outcome=ended(Status.FAILED, 0, "x"))
        await ear.event("execution.failed")
    answer = await stage.call(method, f"{URL}/{execution_id}{path}", group="somebody else's", system_admin=True)
    listed = await stage.call("GET", URL, group="somebody else's")

    assert (answer.status_code, answer.json()["status"]) == (404, 404)
    assert listed.json()["items"] == []
    assert (await stage.row(execution_id)).status == Status.FAILED


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_an_unknown_id_is_not_found_whatever_it_looks_like(stage: Stage, method: str, path: str) -> None:
    answers = [await stage.call(method, f"{URL}/{unknown}{path}") for unknown in UNKNOWN]

    assert [answer.status_code for answer in answers] == [404] * len(UNKNOWN)


@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("POST", ""), ("GET", "/../workers")])
async def test_nobody_gets_in_without_a_token(stage: Stage, method: str, path: str) -> None:
    answer = await stage.client.request(method, f"{URL}/some-id{path}", json={})

    assert answer.status_code == 401


async def test_the_service_says_what_it_waits_for(stage: Stage) -> None:
    ready = await stage.client.get("/readyz")

    assert (ready.status_code, ready.json()["checks"]) == (200, {"database": "ok", "broker": "ok"})
