"""Saving, reading, browsing, deleting and clearing, through the front door."""

import asyncio
import json

import pytest
from kasal_contracts.identity import Act, Role
from kasal_contracts.ids import new_id

from .surroundings import Json, Replica

pytestmark = pytest.mark.asyncio(loop_scope="session")

RECORD = {"kind": "short_term", "text": "t"}
ROUTES = [
    ("POST", "/records", RECORD, Role.OPERATOR),
    ("POST", "/search", {"query": "q"}, Role.VIEWER),
    ("GET", "/records", None, Role.VIEWER),
    ("GET", "/records/x", None, Role.VIEWER),
    ("DELETE", "/records/x", None, Role.EDITOR),
    ("POST", "/clear", {"kind": "entity"}, Role.EDITOR),
]
HOSTILE = ["'; drop table memory_records; --", "..%2f..", "%00", "a%00b", "%", "*", "ä🙂", "x" * 3000, "null", "%ff"]


async def test_a_saved_record_is_read_back_as_it_was_answered(memory: Replica) -> None:
    crew_id = memory.make_crew()
    sent = {
        "kind": "entity",
        "text": "  Ada wrote the first program. ",
        "crew_id": crew_id,
        "agent": "historian",
        "session_id": "s1",
        "entity": "Ada",
        "metadata": {"year": 1843, "tags": ["é", None]},
    }
    made = await memory.call("POST", "/records", sent, role=Role.OPERATOR)
    assert made.status == 201
    read = await memory.call("GET", f"/records/{made.body['id']}", role=Role.VIEWER)
    assert read.body == made.body
    assert {name: read.body[name] for name in sent} == {**sent, "text": "Ada wrote the first program."}
    assert (read.body["group_id"], read.body["created_by"]) == (memory.group, "user-1")
    assert read.body["created_at"].endswith("Z")
    assert made.headers["Location"] == f"/api/v1/memory/records/{made.body['id']}"
    assert made.headers["ETag"] == read.headers["ETag"] == '"1"'


async def test_the_same_text_in_the_same_place_is_kept_once_and_renewed(memory: Replica) -> None:
    first = await memory.save("The sky is blue.", metadata={"seen": 1})
    again = await memory.save("The sky is blue.", metadata={"seen": 2}, agent="observer")
    assert (again["id"], again["created_at"]) == (first["id"], first["created_at"])
    assert again["updated_at"] > first["updated_at"]
    assert (again["metadata"], again["agent"]) == ({"seen": 2}, "observer")
    assert await memory.listed() == await memory.found("blue sky") == ["The sky is blue."]


async def test_the_same_text_in_another_place_is_another_record(memory: Replica) -> None:
    places: list[Json] = [
        {},
        {"kind": "long_term"},
        {"crew_id": memory.make_crew()},
        {"session_id": "s"},
        {"kind": "entity", "entity": "a"},
        {"kind": "entity", "entity": "b"},
    ]
    ids = {(await memory.save("same", **place))["id"] for place in places}
    ids.add((await memory.of(new_id()).save("same"))["id"])
    assert len(ids) == len(places) + 1


async def test_twenty_people_who_save_one_text_at_once_have_one_record(memory: Replica) -> None:
    made = await asyncio.gather(*(memory.save("at once") for _ in range(20)))
    assert len({record["id"] for record in made}) == 1
    assert await memory.listed() == ["at once"]


async def test_records_that_are_renewed_while_they_are_cleared_make_no_error(memory: Replica) -> None:
    async def clear() -> int:
        return (await memory.call("POST", "/clear", {})).status

    saving = [memory.save(f"text {number % 3}") for number in range(20)]
    answers = await asyncio.gather(*saving, *(clear() for _ in range(10)))
    assert answers[20:] == [200] * 10


async def test_the_list_is_newest_first_and_continues_at_its_cursor(memory: Replica) -> None:
    for number in range(5):
        await memory.save(f"text {number}")
    first = await memory.call("GET", "/records", limit="3")
    assert first.texts == ["text 4", "text 3", "text 2"]
    rest = await memory.call("GET", "/records", limit="3", cursor=first.body["next_cursor"])
    assert (rest.texts, rest.body["next_cursor"]) == (["text 1", "text 0"], None)


async def test_every_filter_narrows_the_list(memory: Replica) -> None:
    crew_id = memory.make_crew()
    await memory.save("plain")
    await memory.save("long 100% sure", kind="long_term")
    await memory.save("crew", crew_id=crew_id)
    await memory.save("session", session_id="s1")
    await memory.save("agent", agent="Ann")
    await memory.save("entity", kind="entity", entity="Bob")
    assert len(await memory.listed()) == 6
    assert await memory.listed(kind="long_term") == ["long 100% sure"]
    assert await memory.listed(crew_id=crew_id) == ["crew"]
    assert await memory.listed(session_id="s1") == ["session"]
    assert await memory.listed(agent="Ann") == ["agent"]
    assert await memory.listed(entity="Bob") == ["entity"]
    assert await memory.listed(q="LONG") == await memory.listed(q="0%") == ["long 100% sure"]
    assert await memory.listed(q="%s%") == await memory.listed(kind="entity", q="plain") == []


async def test_a_deleted_record_is_gone_everywhere(memory: Replica) -> None:
    record = await memory.save("to be forgotten")
    await memory.save("to be kept")
    path = f"/records/{record['id']}"
    assert (await memory.call("DELETE", path, role=Role.EDITOR)).status == 204
    assert [(await memory.call(method, path)).status for method in ("GET", "DELETE")] == [404, 404]
    assert await memory.listed() == await memory.found("forgotten") == ["to be kept"]


async def test_clear_takes_what_its_fields_name_and_nothing_else(memory: Replica) -> None:
    crew_id = memory.make_crew()
    await memory.save("short")
    await memory.save("entity", kind="entity")
    await memory.save("crew entity", kind="entity", crew_id=crew_id)
    await memory.save("crew", crew_id=crew_id)
    await memory.save("session", session_id="s1")
    await memory.of("bystander").save("theirs", session_id="s1")

    async def deleted(**fields: str) -> int:
        answer = await memory.call("POST", "/clear", fields, role=Role.EDITOR)
        assert answer.status == 200
        count: int = answer.body["deleted"]
        return count

    assert await deleted(kind="entity", crew_id=crew_id) == 1
    assert await deleted(session_id="s1") == 1
    assert await deleted(crew_id=crew_id) == 1
    assert await memory.listed() == ["entity", "short"]
    assert await deleted(kind="entity") == 1
    assert await deleted(kind="entity") == 0
    assert await memory.found("entity") == ["short"]
    assert await deleted() == 1
    assert await memory.listed() == []
    assert await memory.of("bystander").listed() == ["theirs"]


async def test_a_record_needs_a_crew_of_ones_own_group(memory: Replica) -> None:
    theirs, mine = memory.of(new_id()).make_crew(), memory.make_crew()
    for crew_id in (theirs, "unknown", f"{mine}/versions", f"{mine}?", "..", "a b"):
        answer = await memory.call("POST", "/records", {**RECORD, "crew_id": crew_id})
        assert (answer.status, answer.headers["Content-Type"]) == (404, "application/problem+json"), crew_id
    assert await memory.listed() == []


async def test_another_group_sees_and_changes_nothing(memory: Replica) -> None:
    crew_id = memory.make_crew()
    shared = await memory.save("our shared secret", session_id="s1")
    await memory.save("our crew's secret", crew_id=crew_id)
    await memory.remember("i1", "our execution's secret", crew_id=crew_id)
    stranger = memory.of(new_id())
    assert (await stranger.call("GET", f"/records/{shared['id']}")).status == 404
    assert (await stranger.call("DELETE", f"/records/{shared['id']}")).status == 404
    assert await stranger.listed() == await stranger.listed(crew_id=crew_id) == await stranger.listed(q="secret") == []
    assert await stranger.found("secret") == await stranger.found("secret", crew_id=crew_id, session_id="s1") == []
    assert await stranger.recall("i1", "secret", crew_id=crew_id) == []
    for chosen in ({}, {"crew_id": crew_id}, {"session_id": "s1"}):
        assert (await stranger.call("POST", "/clear", chosen)).body == {"deleted": 0}
    cursor = (await memory.call("GET", "/records", limit="1")).body["next_cursor"]
    assert await stranger.listed(cursor=cursor) == []
    assert len(await memory.listed()) == 3


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_an_unknown_id_is_404_whatever_it_looks_like(memory: Replica, hostile: str) -> None:
    assert (await memory.call("GET", f"/records/{hostile}")).status == 404
    assert (await memory.call("DELETE", f"/records/{hostile}")).status == 404


async def test_hostile_text_is_kept_as_it_is_and_found_by_its_equal_alone(memory: Replica) -> None:
    for text in ("' or 1=1 --", 'a"b', "a\\b", "%_", "{}", "a\nb", "🙂"):
        await memory.save(text, session_id=text, agent=text, metadata={text: text})
        assert await memory.found("anything", session_id=text) == [text]
        assert await memory.listed(session_id=text) == await memory.listed(agent=text) == [text]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/records", {}),
        ("/records", {**RECORD, "kind": "document"}),
        ("/records", {**RECORD, "kind": "forever"}),
        ("/records", {**RECORD, "text": "  "}),
        ("/records", {**RECORD, "text": "x" * 100_001}),
        ("/records", {**RECORD, "text": 7}),
        ("/records", {**RECORD, "text": "a\0b"}),
        ("/records", {**RECORD, "text": "half \ud800"}),
        ("/records", {**RECORD, "crew_id": "a\0"}),
        ("/records", {**RECORD, "crew_id": ""}),
        ("/records", {**RECORD, "session_id": "x" * 201}),
        ("/records", {**RECORD, "metadata": {"a": ["\0"]}}),
        ("/records", {**RECORD, "metadata": {"\ud800": 1}}),
        ("/records", {**RECORD, "metadata": {"a": float("nan")}}),
        ("/records", {**RECORD, "metadata": {"a": "x" * 70_000}}),
        ("/records", {**RECORD, "metadata": {"a": json.loads("[" * 60 + "]" * 60)}}),
        ("/records", {**RECORD, "metadata": []}),
        ("/records", {**RECORD, "group_id": "other"}),
        ("/search", {}),
        ("/search", {"query": ""}),
        ("/search", {"query": "q", "top_k": 0}),
        ("/search", {"query": "q", "top_k": 201}),
        ("/search", {"query": "q", "kinds": ["other"]}),
        ("/search", {"query": "q", "kinds": []}),
        ("/search", {"query": "q", "min_score": float("nan")}),
        ("/search", {"query": "q", "filters": {"a') or 1=1 --": "x"}}),
        ("/search", {"query": "q", "filters": {"a": {"$ne": 1}}}),
        ("/search", {"query": "q", "session_id": "\0"}),
        ("/clear", {"kind": "other"}),
        ("/clear", {"crew": "typing error"}),
        ("/clear", []),
    ],
)
async def test_a_body_that_is_not_valid_is_422_and_nothing_is_written(memory: Replica, path: str, body: Json) -> None:
    answer = await memory.call("POST", path, body)
    assert (answer.status, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert answer.body["errors"]
    assert await memory.listed() == []


@pytest.mark.parametrize(
    "params", [{"limit": "0"}, {"limit": "201"}, {"cursor": "?"}, {"kind": "x"}, {"q": "a\0"}, {"crew_id": "\0"}]
)
async def test_a_list_parameter_that_is_not_valid_is_422(memory: Replica, params: dict[str, str]) -> None:
    assert (await memory.call("GET", "/records", **params)).status == 422


@pytest.mark.parametrize(("method", "path", "body", "least"), ROUTES)
async def test_a_route_needs_a_token_and_its_role(
    memory: Replica, method: str, path: str, body: Json | None, least: Role
) -> None:
    full = f"/api/v1/memory{path}"
    assert (await memory.raw(method, full, None, b"{not json")).status == 401
    for role in Role:
        answer = await memory.call(method, path, body, role=role)
        assert (answer.status == 403) is not role.contains(least)
    worker = memory.world.issuer.service_token("memory", Act(group_id=memory.group, user_id="u"))
    assert (await memory.raw(method, full, worker)).status == 403


async def test_every_operation_is_described(memory: Replica) -> None:
    document = (await memory.raw("GET", "/openapi.json", None)).body
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert len(operations) == len(ROUTES) + 2
    assert all(each["summary"] and "422" in each["responses"] for each in operations)
