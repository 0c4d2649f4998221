import pytest

from .front_door import ADMIN_EMAIL, ADMIN_PASSWORD, PASSWORD, Front, numbers

pytestmark = pytest.mark.asyncio(loop_scope="session")


def somebody(**changes: object) -> dict[str, object]:
    return {"email": f"somebody{next(numbers)}@example.com", "display_name": "Some Body", **changes}


async def test_a_user_is_made_read_listed_changed_and_removed(front: Front) -> None:
    admin = front.admin.token
    made = await front.call("POST", "/api/v1/users", somebody(password=PASSWORD), token=admin)
    path = made.headers["Location"]
    read = await front.call("GET", path, token=admin)
    replaced = await front.call("PUT", path, {**read.body, "display_name": "Other"}, token=admin)
    patched = await front.call("PATCH", path, {"preferences": {"language": "de"}}, token=admin)
    listed = await front.call("GET", f"/api/v1/users?email={made.body['email'].upper()}", token=admin)
    removed = await front.call("DELETE", path, token=admin)
    gone = await front.call("GET", path, token=admin)
    statuses = [each.status for each in (made, read, replaced, patched, listed, removed, gone)]
    assert statuses == [201, 200, 200, 200, 200, 204, 404]
    assert made.body == read.body
    assert {"id", "group_id", "created_by", "created_at", "updated_at"} <= set(read.body)
    assert not {"password", "password_hash"} & set(read.body)
    assert listed.body["items"] == [patched.body]
    assert (patched.body["display_name"], patched.body["preferences"]) == ("Other", {"language": "de"})


async def test_a_change_with_a_stale_etag_is_refused(front: Front) -> None:
    admin = front.admin.token
    made = await front.call("POST", "/api/v1/users", somebody(), token=admin)
    path, tag = made.headers["Location"], made.headers["ETag"]
    first = await front.call("PATCH", path, {"display_name": "One"}, token=admin, If_Match=tag)
    second = await front.call("PATCH", path, {"display_name": "Two"}, token=admin, If_Match=tag)
    removal = await front.call("DELETE", path, token=admin, If_Match=tag)
    assert [first.status, second.status, removal.status] == [200, 412, 412]
    assert first.headers["ETag"] != tag


async def test_two_users_cannot_share_an_address(front: Front) -> None:
    body = somebody()
    first = await front.call("POST", "/api/v1/users", body, token=front.admin.token)
    second = await front.call("POST", "/api/v1/users", {**body, "email": f" {body['email']}"}, token=front.admin.token)
    shouted = {**body, "email": str(body["email"]).upper()}
    third = await front.call("POST", "/api/v1/users", shouted, token=front.admin.token)
    other = await front.call("POST", "/api/v1/users", somebody(), token=front.admin.token)
    renamed = {"email": body["email"]}
    moved = await front.call("PATCH", other.headers["Location"], renamed, token=front.admin.token)
    assert [first.status, third.status, moved.status] == [201, 409, 409]
    assert second.status in {409, 422}


@pytest.mark.parametrize(
    "body",
    [
        {"email": "not an address"},
        {"email": "a@example.com", "password": "short"},
        {"email": "longaddress@example.com", "password": "longaddress@example.com"},
        {"email": "a@example.com", "display_name": "nul \x00"},
        {"email": "a@example.com", "preferences": {"deep": [{"nul\x00": 1}]}},
        {"email": "a@example.com", "unknown": True},
        {"display_name": "nobody"},
    ],
)
async def test_a_bad_user_is_refused_with_a_place_and_a_reason(front: Front, body: dict[str, object]) -> None:
    answer = await front.call("POST", "/api/v1/users", body, token=front.admin.token)
    assert answer.status == 422
    assert answer.body["errors"][0]["loc"][0] == "body"


@pytest.mark.parametrize("user_id", ["nobody", "a%00b", "%F0%9F%A6%84", "x" * 500])
async def test_an_unknown_id_is_not_found_whatever_it_looks_like(front: Front, user_id: str) -> None:
    for method, body in (("GET", None), ("PATCH", {}), ("DELETE", None)):
        answer = await front.call(method, f"/api/v1/users/{user_id}", body, token=front.admin.token)
        assert answer.status == 404


async def test_users_are_for_system_administrators_only(front: Front) -> None:
    person = await front.new_person("admin")
    calls = [
        ("GET", "/api/v1/users", None),
        ("POST", "/api/v1/users", somebody()),
        ("GET", f"/api/v1/users/{person.id}", None),
        ("PUT", f"/api/v1/users/{person.id}", somebody()),
        ("PATCH", f"/api/v1/users/{person.id}", {"is_system_admin": True}),
        ("DELETE", f"/api/v1/users/{person.id}", None),
    ]
    answers = [await front.call(method, path, body, token=person.token) for method, path, body in calls]
    assert [answer.status for answer in answers] == [403] * len(calls)
    me = (await front.call("GET", "/api/v1/auth/me", token=person.token)).body
    assert me["is_system_admin"] is False


async def test_a_list_is_read_page_by_page_newest_first(front: Front) -> None:
    admin = front.admin.token
    made = [(await front.call("POST", "/api/v1/users", somebody(), token=admin)).body["id"] for _ in range(3)]
    first = (await front.call("GET", "/api/v1/users?limit=2", token=admin)).body
    rest = (await front.call("GET", f"/api/v1/users?limit=1&cursor={first['next_cursor']}", token=admin)).body
    broken = await front.call("GET", "/api/v1/users?cursor=%00", token=admin)
    assert [user["id"] for user in first["items"] + rest["items"]] == made[::-1]
    assert broken.status == 422


async def test_a_disabled_user_is_out_everywhere_and_may_come_back(front: Front) -> None:
    person = await front.new_person("viewer")
    path = f"/api/v1/users/{person.id}"
    await front.call("PATCH", path, {"disabled": True}, token=front.admin.token)
    out = [
        await front.login(person.email),
        await front.call("POST", "/api/v1/auth/refresh", {"refresh_token": person.refresh_token}),
    ]
    revoked = (await front.call("GET", "/.well-known/revocations.json")).body["items"]
    await front.call("PATCH", path, {"disabled": False}, token=front.admin.token)
    back = await front.login(person.email)
    assert [each.status for each in out] == [401, 401]
    assert f"user:{person.id}" in {item["subject"] for item in revoked}
    assert back.status == 200


async def test_a_removed_user_can_neither_refresh_nor_log_in(front: Front) -> None:
    person = await front.new_person("viewer")
    await front.call("DELETE", f"/api/v1/users/{person.id}", token=front.admin.token)
    refresh = await front.call("POST", "/api/v1/auth/refresh", {"refresh_token": person.refresh_token})
    login = await front.login(person.email)
    revoked = (await front.call("GET", "/.well-known/revocations.json")).body["items"]
    assert (refresh.status, login.status) == (401, 401)
    assert f"user:{person.id}" in {item["subject"] for item in revoked}


async def test_a_password_set_by_an_administrator_ends_the_sessions(front: Front) -> None:
    person = await front.new_person("viewer")
    body = {"password": "given by the administrator"}
    await front.call("PATCH", f"/api/v1/users/{person.id}", body, token=front.admin.token)
    refresh = await front.call("POST", "/api/v1/auth/refresh", {"refresh_token": person.refresh_token})
    logins = [(await front.login(person.email, password)).status for password in (PASSWORD, body["password"])]
    assert refresh.status == 401
    assert logins == [401, 200]


async def test_the_last_system_administrator_cannot_leave(front: Front) -> None:
    path = f"/api/v1/users/{front.admin.id}"
    answers = [
        await front.call("DELETE", path, token=front.admin.token),
        await front.call("PATCH", path, {"disabled": True}, token=front.admin.token),
        await front.call("PATCH", path, {"is_system_admin": False}, token=front.admin.token),
    ]
    assert [answer.status for answer in answers] == [409, 409, 409]
    assert (await front.login(ADMIN_EMAIL, ADMIN_PASSWORD)).body["user"]["is_system_admin"] is True


async def test_a_user_in_no_group_sees_a_place_that_nobody_shares(front: Front) -> None:
    first, second = await front.new_person(), await front.new_person()
    me = (await front.call("GET", "/api/v1/auth/me", token=first.token)).body
    assert (me["group_id"], me["groups"]) == (None, [])
    places = {(await front.host.verifier.verify(person.token)).group_id for person in (first, second)}
    assert places == {first.id, second.id}
