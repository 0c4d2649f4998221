"""What workers ask for in the name of executions."""

import json

import pytest
from kasal_contracts.identity import Act
from kasal_contracts.ids import new_id

from .surroundings import Json, Replica

pytestmark = pytest.mark.asyncio(loop_scope="session")

BODIES = {"/search": {"identity": "i", "query": "q"}, "/records": {"identity": "i", "texts": ["t"]}}


async def test_a_second_execution_recalls_what_the_first_remembered(memory: Replica) -> None:
    identity = new_id()
    ids = await memory.remember(identity, "The customer prefers tea.", "The office is in Oslo.", agent="host")
    assert (await memory.recall(identity, "What does the customer drink?"))[0] == "The customer prefers tea."
    assert (await memory.recall(identity, "Where do they work?", top_k=1)) == ["The office is in Oslo."]
    record = (await memory.call("GET", f"/records/{ids[0]}")).body
    assert (record["text"], record["kind"], record["agent"]) == ("The customer prefers tea.", "short_term", "host")
    assert (record["group_id"], record["created_by"]) == (memory.group, "user-7")


async def test_an_execution_recalls_its_crews_and_shared_records_but_no_other_identity(memory: Replica) -> None:
    crew_id, other = memory.make_crew(), memory.make_crew()
    await memory.save("shared by a person")
    await memory.save("given to the crew", crew_id=crew_id)
    await memory.save("given to another crew", crew_id=other)
    await memory.remember("mine", "remembered", crew_id=crew_id)
    await memory.remember("theirs", "remembered by others", crew_id=other)
    everything = await memory.recall("mine", "x", crew_id=crew_id, top_k=50)
    assert set(everything) == {"shared by a person", "given to the crew", "remembered"}
    assert set(await memory.recall("mine", "x")) == {"shared by a person", "remembered"}


async def test_a_text_that_is_remembered_again_is_kept_once(memory: Replica) -> None:
    first = await memory.remember("i", "a", "b", "a")
    again = await memory.remember("i", "b", "c", crew_id="c1")
    assert first[0] == first[2] != first[1]
    assert again[0] == first[1]
    assert sorted(await memory.recall("i", "x")) == ["a", "b", "c"]
    assert (await memory.call("GET", f"/records/{first[1]}")).body["crew_id"] == "c1"


async def test_the_group_comes_from_the_token(memory: Replica) -> None:
    for path, body in BODIES.items():
        assert (await memory.internal(path, {**body, "group_id": "another"})).status == 422
    await memory.remember("i", "ours")
    assert await memory.of(new_id()).recall("i", "ours") == []
    assert await memory.recall("i", "ours") == ["ours"]


@pytest.mark.parametrize("path", list(BODIES))
async def test_only_a_service_that_acts_for_somebody_is_let_in(memory: Replica, path: str) -> None:
    issuer, body = memory.world.issuer, json.dumps(BODIES[path]).encode()
    act = Act(group_id=memory.group, user_id="u")
    tokens = {
        issuer.service_token("memory", act): {200, 201},
        issuer.service_token("memory"): {403},
        issuer.token(system_admin=True): {403},
        issuer.service_token("executor", act): {401},
        None: {401},
    }
    for token, expected in tokens.items():
        assert (await memory.raw("POST", f"/internal/memory{path}", token, body)).status in expected


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/records", {"texts": []}),
        ("/records", {"texts": ["a\0b"]}),
        ("/records", {"texts": ["t"] * 101}),
        ("/records", {"identity": ""}),
        ("/records", {"kind": "forever"}),
        ("/search", {"identity": ""}),
        ("/search", {"identity": None}),
        ("/search", {"top_k": 51}),
        ("/search", {"query": "\0"}),
    ],
)
async def test_a_body_that_is_not_valid_is_422(memory: Replica, path: str, fields: Json) -> None:
    assert (await memory.internal(path, {**BODIES[path], **fields})).status == 422
    assert await memory.listed() == []
