import pytest
from kasal_contracts.identity import Role

from .front_door import Front, Person, numbers

pytestmark = pytest.mark.asyncio(loop_scope="session")


def members_of(person: Person) -> str:
    return f"/api/v1/groups/{person.group_id}/members"


async def test_a_group_is_made_read_listed_changed_and_removed(front: Front) -> None:
    admin = front.admin.token
    made = await front.call("POST", "/api/v1/groups", {"name": f"team {next(numbers)}"}, token=admin)
    path = made.headers["Location"]
    read = await front.call("GET", path, token=admin)
    replaced = await front.call("PUT", path, {**read.body, "description": "the team"}, token=admin)
    stale = await front.call("PATCH", path, {"name": "late"}, token=admin, If_Match=read.headers["ETag"])
    listed = await front.call("GET", "/api/v1/groups?limit=1", token=admin)
    removed = await front.call("DELETE", path, token=admin)
    gone = await front.call("GET", path, token=admin)
    statuses = [each.status for each in (made, read, replaced, stale, listed, removed, gone)]
    assert statuses == [201, 200, 200, 412, 200, 204, 404]
    assert listed.body["items"] == [replaced.body]
    assert replaced.body["description"] == "the team"


async def test_a_group_name_is_taken_once(front: Front) -> None:
    body = {"name": f"unique {next(numbers)}"}
    answers = [await front.call("POST", "/api/v1/groups", body, token=front.admin.token) for _ in range(2)]
    assert [answer.status for answer in answers] == [201, 409]


async def test_people_see_their_own_groups_and_no_others(front: Front) -> None:
    mine, theirs = await front.new_person("viewer"), await front.new_person("admin")
    listed = (await front.call("GET", "/api/v1/groups", token=mine.token)).body
    other = await front.call("GET", f"/api/v1/groups/{theirs.group_id}", token=mine.token)
    assert [group["id"] for group in listed["items"]] == [mine.group_id]
    assert other.status == 404


async def test_only_a_system_administrator_makes_changes_and_removes_groups(front: Front) -> None:
    person = await front.new_person("admin")
    path = f"/api/v1/groups/{person.group_id}"
    answers = [
        await front.call("POST", "/api/v1/groups", {"name": "mine"}, token=person.token),
        await front.call("PUT", path, {"name": "mine"}, token=person.token),
        await front.call("PATCH", path, {"name": "mine"}, token=person.token),
        await front.call("DELETE", path, token=person.token),
    ]
    assert [answer.status for answer in answers] == [403] * 4


async def test_a_group_administrator_manages_its_members(front: Front) -> None:
    boss, newcomer = await front.new_person("admin"), await front.new_person()
    body = {"email": newcomer.email, "role": "viewer"}
    added = await front.call("POST", members_of(boss), body, token=boss.token)
    again = await front.call("POST", members_of(boss), body, token=boss.token)
    path = added.headers["Location"]
    read = await front.call("GET", path, token=boss.token)
    replaced = await front.call("PUT", path, {**read.body, "role": "operator"}, token=boss.token)
    stale = await front.call("PATCH", path, {"role": "admin"}, token=boss.token, If_Match=read.headers["ETag"])
    patched = await front.call("PATCH", path, {"role": "editor"}, token=boss.token)
    listed = (await front.call("GET", members_of(boss), token=boss.token)).body["items"]
    removed = await front.call("DELETE", path, token=boss.token)
    statuses = [each.status for each in (added, again, read, replaced, stale, patched, removed)]
    assert statuses == [201, 409, 200, 200, 412, 200, 204]
    assert [(member["email"], member["role"]) for member in listed] == [
        (newcomer.email, "editor"),
        (boss.email, "admin"),
    ]
    me = (await front.person(newcomer.email)).group_id
    assert me is None


async def test_a_member_may_be_named_by_user_id(front: Front) -> None:
    boss, newcomer = await front.new_person("admin"), await front.new_person()
    body = {"user_id": newcomer.id, "role": "viewer"}
    added = await front.call("POST", members_of(boss), body, token=boss.token)
    assert (added.status, added.body["user_id"]) == (201, newcomer.id)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"role": "viewer"}, 422),
        ({"email": "a@example.com", "user_id": "x", "role": "viewer"}, 422),
        ({"email": "admin@kasal.local", "role": "emperor"}, 422),
        ({"email": "nobody-at-all@example.com", "role": "viewer"}, 404),
        ({"user_id": "nobody", "role": "viewer"}, 404),
    ],
)
async def test_a_bad_member_is_refused(front: Front, body: dict[str, str], status: int) -> None:
    boss = await front.new_person("admin")
    answer = await front.call("POST", members_of(boss), body, token=boss.token)
    assert answer.status == status


async def test_below_the_role_of_an_administrator_members_are_closed(front: Front) -> None:
    boss = await front.new_person("admin")
    for role in (Role.VIEWER, Role.OPERATOR, Role.EDITOR):
        person = await front.new_person(role, boss.group_id)
        answers = [
            await front.call("GET", members_of(boss), token=person.token),
            await front.call("POST", members_of(boss), {"email": "a@b.c", "role": "admin"}, token=person.token),
            await front.call("PATCH", f"{members_of(boss)}/{person.id}", {"role": "admin"}, token=person.token),
            await front.call("DELETE", f"{members_of(boss)}/{boss.id}", token=person.token),
        ]
        assert [answer.status for answer in answers] == [403] * 4


async def test_another_group_is_not_found_on_every_route(front: Front) -> None:
    mine, theirs = await front.new_person("admin"), await front.new_person("admin")
    member = f"{members_of(theirs)}/{theirs.id}"
    answers = [
        await front.call("GET", members_of(theirs), token=mine.token),
        await front.call("POST", members_of(theirs), {"email": mine.email, "role": "admin"}, token=mine.token),
        await front.call("GET", member, token=mine.token),
        await front.call("PUT", member, {"role": "viewer"}, token=mine.token),
        await front.call("PATCH", member, {"role": "viewer"}, token=mine.token),
        await front.call("DELETE", member, token=mine.token),
        await front.call("GET", f"{members_of(mine)}/{theirs.id}", token=mine.token),
        await front.call("GET", "/api/v1/groups/nowhere/members", token=front.admin.token),
        await front.call("PUT", f"/api/v1/groups/{theirs.group_id}", {"name": "mine"}, token=mine.token),
        await front.call("PATCH", f"/api/v1/groups/{theirs.group_id}", {"name": "mine"}, token=mine.token),
        await front.call("DELETE", f"/api/v1/groups/{theirs.group_id}", token=mine.token),
    ]
    assert [answer.status for answer in answers] == [404] * len(answers)


async def test_a_changed_role_revokes_the_old_tokens_and_a_refresh_brings_the_new_role(front: Front) -> None:
    boss = await front.new_person("admin")
    person = await front.new_person("viewer", boss.group_id)
    await front.call("PATCH", f"{members_of(boss)}/{person.id}", {"role": "editor"}, token=boss.token)
    refreshed = (await front.call("POST", "/api/v1/auth/refresh", {"refresh_token": person.refresh_token})).body
    revoked = (await front.call("GET", "/.well-known/revocations.json")).body["items"]
    assert f"member:{person.id}:{boss.group_id}" in {item["subject"] for item in revoked}
    assert (await front.host.verifier.verify(refreshed["access_token"])).role == Role.EDITOR


async def test_a_removed_member_loses_the_group_and_keeps_the_others(front: Front) -> None:
    boss = await front.new_person("admin")
    person = await front.new_person("viewer", boss.group_id)
    elsewhere = await front.new_group()
    await front.add(elsewhere, person.email, "operator")
    await front.call("DELETE", f"{members_of(boss)}/{person.id}", token=boss.token)
    revoked = (await front.call("GET", "/.well-known/revocations.json")).body["items"]
    assert f"member:{person.id}:{boss.group_id}" in {item["subject"] for item in revoked}
    assert (await front.person(person.email)).group_id == elsewhere


async def test_removing_a_group_moves_its_members_on_and_removes_its_keys(front: Front) -> None:
    boss = await front.new_person("admin")
    await front.call("PUT", "/api/v1/api-keys/OPENAI_API_KEY", {"value": "sk-gone-with-it"}, token=boss.token)
    removed = await front.call("DELETE", f"/api/v1/groups/{boss.group_id}", token=front.admin.token)
    revoked = (await front.call("GET", "/.well-known/revocations.json")).body["items"]
    assert removed.status == 204
    assert f"member:{boss.id}:{boss.group_id}" in {item["subject"] for item in revoked}
    assert (await front.person(boss.email)).group_id is None
