from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from .front_door import Front, Person

pytestmark = pytest.mark.asyncio(loop_scope="session")

VALUE = "sk-planted-value-7Q9z"
PATH = "/api/v1/api-keys/OPENAI_API_KEY"


@pytest_asyncio.fixture(loop_scope="session")
async def boss(front: Front) -> AsyncGenerator[Person]:
    yield await front.new_person("admin")


async def test_a_key_is_stored_rotated_listed_and_removed_without_showing_its_value(front: Front, boss: Person) -> None:
    put = await front.call("PUT", PATH, {"value": VALUE, "description": "ours"}, token=boss.token)
    read = await front.call("GET", PATH, token=boss.token)
    again = await front.call("PUT", PATH, {**read.body, "value": VALUE + "-2"}, token=boss.token)
    rotated = await front.call("POST", f"{PATH}/rotate", {"value": VALUE + "-3"}, token=boss.token)
    listed = await front.call("GET", "/api/v1/api-keys", token=boss.token)
    removed = await front.call("DELETE", PATH, token=boss.token)
    gone = await front.call("GET", PATH, token=boss.token)
    answers = [put, read, again, rotated, listed, removed, gone]
    assert [each.status for each in answers] == [201, 200, 200, 200, 200, 204, 404]
    assert put.body == read.body
    assert (put.body["hint"], put.body["version"], put.body["expired"]) == ("7Q9z", 1, False)
    assert listed.body["items"] == [rotated.body]
    assert (rotated.body["version"], rotated.body["description"]) == (3, "ours")
    assert not any(VALUE in each.text for each in answers)


async def test_a_short_value_gives_no_hint(front: Front, boss: Person) -> None:
    answer = await front.call("PUT", PATH, {"value": "tiny"}, token=boss.token)
    assert answer.body["hint"] == ""


async def test_a_past_expiry_shows_and_a_new_value_starts_afresh(front: Front, boss: Person) -> None:
    old = {"value": VALUE, "expires_at": "2020-01-01T00:00:00Z"}
    put = await front.call("PUT", PATH, old, token=boss.token)
    rotated = await front.call("POST", f"{PATH}/rotate", {"value": VALUE}, token=boss.token)
    assert (put.body["expired"], put.body["expires_at"]) == (True, "2020-01-01T00:00:00Z")
    assert (rotated.body["expired"], rotated.body["expires_at"]) == (False, None)


async def test_a_stale_etag_is_refused(front: Front, boss: Person) -> None:
    tag = (await front.call("PUT", PATH, {"value": VALUE}, token=boss.token)).headers["ETag"]
    first = await front.call("POST", f"{PATH}/rotate", {"value": VALUE}, token=boss.token, If_Match=tag)
    second = await front.call("PUT", PATH, {"value": VALUE}, token=boss.token, If_Match=tag)
    removal = await front.call("DELETE", PATH, token=boss.token, If_Match=tag)
    assert [first.status, second.status, removal.status] == [200, 412, 412]


async def test_administrators_write_keys_editors_look_and_others_do_neither(front: Front, boss: Person) -> None:
    await front.call("PUT", PATH, {"value": VALUE}, token=boss.token)
    expected = {"viewer": [403] * 5, "operator": [403] * 5, "editor": [200, 200, 403, 403, 403]}
    for role, statuses in expected.items():
        person = await front.new_person(role, boss.group_id)
        answers = [
            await front.call("GET", "/api/v1/api-keys", token=person.token),
            await front.call("GET", PATH, token=person.token),
            await front.call("PUT", PATH, {"value": VALUE}, token=person.token),
            await front.call("POST", f"{PATH}/rotate", {"value": VALUE}, token=person.token),
            await front.call("DELETE", PATH, token=person.token),
        ]
        assert [answer.status for answer in answers] == statuses


async def test_another_groups_keys_are_not_there(front: Front, boss: Person) -> None:
    stranger = await front.new_person("admin")
    await front.call("PUT", PATH, {"value": VALUE}, token=boss.token)
    answers = [
        await front.call("GET", PATH, token=stranger.token),
        await front.call("POST", f"{PATH}/rotate", {"value": "theirs"}, token=stranger.token),
        await front.call("DELETE", PATH, token=stranger.token),
    ]
    listed = await front.call("GET", "/api/v1/api-keys", token=stranger.token)
    assert [answer.status for answer in answers] == [404] * 3
    assert listed.body["items"] == []
    assert (await front.call("GET", PATH, token=boss.token)).body["version"] == 1


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("1KEY", {"value": VALUE}),
        ("A%00B", {"value": VALUE}),
        ("KEY", {"value": ""}),
        ("KEY", {}),
        ("KEY", {"value": VALUE, "expires_at": "tomorrow"}),
        ("KEY", {"value": VALUE, "surprise": 1}),
    ],
)
async def test_a_bad_key_is_refused_without_repeating_it(
    front: Front, boss: Person, name: str, body: dict[str, object]
) -> None:
    answer = await front.call("PUT", f"/api/v1/api-keys/{name}", body, token=boss.token)
    assert answer.status == 422
    assert VALUE not in answer.text
