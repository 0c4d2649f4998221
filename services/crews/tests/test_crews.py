import asyncio
import json
from typing import Any

import httpx
import pytest
from kasal_contracts.identity import Role

from .conftest import Json, Kasal


async def created(client: httpx.AsyncClient, crew: Json) -> Json:
    answer = await client.post("/crews", json=crew)
    assert answer.status_code == 201, answer.text
    body: Json = answer.json()
    return body


async def test_a_created_crew_has_an_address_an_etag_and_its_first_version(
    admin: httpx.AsyncClient, kasal: Kasal, crew: Json
) -> None:
    answer = await admin.post("/crews", json=crew)
    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/v1/crews/{body['id']}"
    assert answer.headers["etag"] == '"1"'
    assert (body["version"], body["group_id"], body["published"]) == (1, kasal.group, [])
    assert body["tasks"][1]["context"] == ["research"]
    assert body["agents"][0]["max_iter"] == 20
    assert body["created_at"].endswith("Z")
    assert (await admin.get(f"/crews/{body['id']}")).json() == body


async def test_put_accepts_what_get_returned_and_changes_nothing(admin: httpx.AsyncClient, crew: Json) -> None:
    read = await admin.get(f"/crews/{(await created(admin, crew))['id']}")
    put = await admin.put(f"/crews/{read.json()['id']}", json=read.json(), headers={"If-Match": read.headers["etag"]})
    assert put.status_code == 200
    assert put.json() == read.json()
    assert put.headers["etag"] == read.headers["etag"]


async def test_put_replaces_the_whole_document(admin: httpx.AsyncClient, crew: Json) -> None:
    saved = await created(admin, crew)
    del crew["description"]
    crew["name"] = "Shorter"
    put = await admin.put(f"/crews/{saved['id']}", json=crew)
    assert put.status_code == 200
    assert (put.json()["name"], put.json()["description"], put.json()["version"]) == ("Shorter", "", 2)
    assert put.json()["updated_at"] > saved["updated_at"]


async def test_patch_merges_objects_replaces_lists_and_removes_nulls(admin: httpx.AsyncClient, crew: Json) -> None:
    crew["configuration"] = {"memory": True, "max_rpm": 5}
    saved = await created(admin, crew)
    patch = {"configuration": {"max_rpm": None, "planning": True}, "description": None, "inputs": {"n": {"default": 3}}}
    changed = (await admin.patch(f"/crews/{saved['id']}", json=patch)).json()
    assert changed["configuration"] == {"memory": True, "planning": True, "manager_model": None, "max_rpm": None}
    assert changed["description"] == ""
    assert list(changed["inputs"]) == ["topic", "n"]
    assert changed["version"] == 2


async def test_patch_that_would_break_the_crew_changes_nothing(admin: httpx.AsyncClient, crew: Json) -> None:
    saved = await created(admin, crew)
    refused = await admin.patch(f"/crews/{saved['id']}", json={"agents": crew["agents"][:1]})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["body", "tasks", 1, "agent"]
    assert (await admin.patch(f"/crews/{saved['id']}", json={"name": None})).status_code == 422
    assert (await admin.get(f"/crews/{saved['id']}")).json() == saved


async def test_a_stale_if_match_is_refused_and_the_fresh_one_is_not(admin: httpx.AsyncClient, crew: Json) -> None:
    saved = await admin.post("/crews", json=crew)
    url = f"/crews/{saved.json()['id']}"
    first = {"If-Match": saved.headers["etag"]}
    assert (await admin.patch(url, json={"name": "one"}, headers=first)).status_code == 200
    for call in (admin.patch(url, json={"name": "two"}, headers=first), admin.put(url, json=crew, headers=first)):
        assert (await call).status_code == 412
    assert (await admin.delete(url, headers=first)).status_code == 412
    assert (await admin.get(url)).json()["name"] == "one"


async def test_a_deleted_crew_is_gone_with_its_versions(admin: httpx.AsyncClient, crew: Json) -> None:
    url = f"/crews/{(await created(admin, crew))['id']}"
    deleted = await admin.delete(url)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert {(await admin.get(path)).status_code for path in (url, f"{url}/versions", f"{url}/versions/1")} == {404}


async def test_pages_hold_the_newest_first_without_loss(admin: httpx.AsyncClient, crew: Json) -> None:
    ids = [(await created(admin, crew))["id"] for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        page = (await admin.get("/crews", params={"limit": 2, **({"cursor": cursor} if cursor else {})})).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert cursor is None
    assert seen == ids[::-1]


async def test_simultaneous_changes_never_share_a_version_number(admin: httpx.AsyncClient, crew: Json) -> None:
    url = f"/crews/{(await created(admin, crew))['id']}"
    answers = await asyncio.gather(*(admin.patch(url, json={"name": f"name {n}"}) for n in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.json()["version"] for answer in answers) == list(range(2, 10))
    versions = (await admin.get(f"{url}/versions")).json()["items"]
    assert [version["version"] for version in versions] == list(range(9, 0, -1))


async def test_of_simultaneous_changes_to_one_revision_one_wins(admin: httpx.AsyncClient, crew: Json) -> None:
    saved = await admin.post("/crews", json=crew)
    url, match = f"/crews/{saved.json()['id']}", {"If-Match": saved.headers["etag"]}
    answers = await asyncio.gather(*(admin.patch(url, json={"name": f"{n}"}, headers=match) for n in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412]
    assert (await admin.get(url)).json()["version"] == 2


async def test_a_draft_without_parts_is_saved_but_half_a_crew_is_not(admin: httpx.AsyncClient, crew: Json) -> None:
    draft = await admin.post("/crews", json={"name": "Later"})
    half = await admin.post("/crews", json={"name": "Half", "agents": crew["agents"]})
    assert (draft.status_code, draft.json()["tasks"]) == (201, [])
    assert (half.status_code, half.json()["errors"][0]["loc"]) == (422, ["body", "tasks"])


async def test_an_invalid_crew_is_refused_with_the_problems_that_validate_tells(
    admin: httpx.AsyncClient, crew: Json
) -> None:
    crew["tasks"][1]["agent"] = "writr"
    crew["agents"][0]["tools"] = ["calculatr"]
    verdict = (await admin.post("/crews/validate", json=crew)).json()
    refused = await admin.post("/crews", json=crew)
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert [problem["path"] for problem in verdict["problems"]] == ["tasks[1].agent", "agents[0].tools[0]"]
    assert [problem["message"] for problem in verdict["problems"]] == [
        error["msg"] for error in refused.json()["errors"]
    ]
    assert (await admin.get("/crews")).json()["items"] == []


async def test_a_misshapen_crew_is_told_alike_by_save_and_validate(admin: httpx.AsyncClient, crew: Json) -> None:
    crew["agents"][0]["backstroy"] = crew["agents"][0].pop("goal")
    verdict = (await admin.post("/crews/validate", json=crew)).json()
    errors = (await admin.post("/crews", json=crew)).json()["errors"]
    assert not verdict["valid"]
    assert [(problem["path"], problem["message"]) for problem in verdict["problems"]] == [
        ("agents[0].goal", "Field required"),
        ("agents[0].backstroy", "unknown field; did you mean 'backstory'?"),
    ]
    assert [error["msg"] for error in errors] == [problem["message"] for problem in verdict["problems"]]
    assert errors[1]["loc"] == ["body", "agents", 0, "backstroy"]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "nul \x00"},
        {"description": "half a pair \ud800"},
        {"layout": {"nodes": {"a": {"x": float("nan"), "y": 0}}}},
        {"layout": {"nodes": {"a": {"x": float("inf"), "y": 0}}}},
        {"layout": {"nodes": {"\x00": {"x": 1, "y": 0}}}},
        {"inputs": {"n": {"default": 10**30}}},
        {"published": ["soap"]},
        {"unknown": 1},
        {"name": ""},
        {"name": 7},
        {"agents": {}},
        {"agents": [None]},
    ],
    ids=str,
)
async def test_what_cannot_be_kept_is_refused(admin: httpx.AsyncClient, crew: Json, change: Json) -> None:
    body = json.dumps({**crew, **change})
    answer = await admin.post("/crews", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["loc"][0] == "body"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"text"', b"[" * 100_000, b"\xff\xfe", b"1e999"])
async def test_a_body_that_is_no_crew_is_a_client_error(admin: httpx.AsyncClient, body: bytes) -> None:
    answer = await admin.post("/crews", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("crew_id", ["nobody", "%00", "%F0%9F%A6%84", "x" * 300, "..%2F..", "1"])
async def test_an_unknown_id_is_404_whatever_its_text(admin: httpx.AsyncClient, crew: Json, crew_id: str) -> None:
    calls = [
        admin.get(f"/crews/{crew_id}"),
        admin.put(f"/crews/{crew_id}", json=crew),
        admin.patch(f"/crews/{crew_id}", json={}),
        admin.delete(f"/crews/{crew_id}"),
        admin.get(f"/crews/{crew_id}/versions"),
        admin.post(f"/crews/{crew_id}/versions/1/restore"),
    ]
    assert {(await call).status_code for call in calls} == {404}


async def test_publishing_makes_no_version(admin: httpx.AsyncClient, crew: Json) -> None:
    saved = await created(admin, crew)
    published: Any = (await admin.patch(f"/crews/{saved['id']}", json={"published": ["rest", "mcp"]})).json()
    assert (published["published"], published["version"]) == (["rest", "mcp"], 1)


async def test_roles_decide_who_may_change_crews(kasal: Kasal, admin: httpx.AsyncClient, crew: Json) -> None:
    url = f"/crews/{(await created(admin, crew))['id']}"
    viewer, operator, editor = [await kasal.person(role) for role in (Role.VIEWER, Role.OPERATOR, Role.EDITOR)]
    for reader in (viewer, operator):
        assert (await reader.get(url)).status_code == 200
        assert (await reader.post("/crews/validate", json=crew)).status_code == 200
        for refused in (reader.post("/crews", json=crew), reader.put(url, json=crew), reader.delete(url)):
            assert (await refused).status_code == 403
    assert (await editor.patch(url, json={"name": "Edited"})).status_code == 200
    assert (await editor.get(url, headers={"Authorization": ""})).status_code == 401
