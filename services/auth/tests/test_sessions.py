import asyncio

import jwt
import pytest
from kasal_contracts.errors import UnauthenticatedError
from kasal_runtime.tokens import TokenVerifier, open_verifier

from .front_door import ADMIN_EMAIL, ADMIN_PASSWORD, PASSWORD, Front

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def refused_in_time(front: Front, verifier: TokenVerifier, token: str) -> bool:
    """Whether `verifier` stops believing `token` within the promised 5 s."""
    try:
        async with asyncio.timeout(5):
            while True:
                await verifier.verify(token)
                await front.call("GET", "/healthz")
    except UnauthenticatedError:
        return True
    except TimeoutError:
        return False


async def test_a_login_answers_tokens_and_the_user(front: Front) -> None:
    body = (await front.login(ADMIN_EMAIL.upper(), ADMIN_PASSWORD)).body
    assert (body["token_type"], body["expires_in"]) == ("bearer", 900)
    assert body["user"]["is_system_admin"] is True
    assert [(group["name"], group["role"]) for group in body["user"]["groups"]] == [("default", "admin")]
    me = await front.call("GET", "/api/v1/auth/me", token=body["access_token"])
    assert me.body == body["user"]


async def test_an_access_token_carries_the_promised_claims_and_a_published_key(front: Front) -> None:
    person = await front.new_person("operator")
    jwks = (await front.call("GET", "/.well-known/jwks.json")).body
    key_id = jwt.get_unverified_header(person.token)["kid"]
    key = next(key for key in jwks["keys"] if key["kid"] == key_id)
    claims = jwt.decode(person.token, jwt.PyJWK(key), algorithms=["EdDSA"], audience="kasal", issuer="kasal")
    assert {"sub", "gid", "role", "scope", "jti", "iss", "aud", "exp", "iat", "sid"} <= set(claims)
    assert (claims["sub"], claims["gid"], claims["role"]) == (person.id, person.group_id, "operator")
    assert claims["exp"] - claims["iat"] == pytest.approx(900)


async def test_an_unknown_user_and_a_wrong_password_are_told_apart_by_neither_words_nor_work(front: Front) -> None:
    person = await front.new_person()
    answers, work = [], []
    for email in (person.email, "nobody@example.com"):
        before = await front.hashes()
        answers.append(await front.login(email, "not the password"))
        work.append(await front.hashes() - before)
    assert [answer.status for answer in answers] == [401, 401]
    words = [{**answer.body, "request_id": ""} for answer in answers]
    assert words[0] == words[1]
    assert work == [1, 1]


async def test_repeated_failures_are_slowed_down_on_every_replica(front: Front, replica: Front) -> None:
    person = await front.new_person()
    statuses = [(await front.login(person.email, "wrong wrong wrong")).status for _ in range(8)]
    refused = await replica.login(person.email)
    assert statuses == [401] * 8
    assert refused.status == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 300


async def test_failures_from_one_address_do_not_lock_the_owner_out_at_another(front: Front) -> None:
    person = await front.new_person()
    for _ in range(9):
        last = await front.login(person.email, "wrong wrong wrong", X_Forwarded_For="192.0.2.7")
    owner = await front.login(person.email, X_Forwarded_For="192.0.2.7, 198.51.100.1")
    assert last.status == 429
    assert owner.status == 200


async def test_a_right_password_forgives_the_failures_before_it(front: Front) -> None:
    person = await front.new_person()
    for _ in range(2):
        for _ in range(7):
            await front.login(person.email, "wrong wrong wrong")
        answer = await front.login(person.email)
    assert answer.status == 200


async def test_a_refresh_gives_a_new_pair_and_the_old_token_is_dead(front: Front) -> None:
    person = await front.new_person()
    first = await front.call("POST", "/api/v1/auth/refresh", {"refresh_token": person.refresh_token})
    again = await front.call("POST", "/api/v1/auth/refresh", {"refresh_token": first.body["refresh_token"]})
    assert (first.status, again.status) == (200, 200)
    me = await front.call("GET", "/api/v1/auth/me", token=again.body["access_token"])
    assert me.body["email"] == person.email


async def test_a_dead_refresh_token_kills_its_family_on_every_replica(front: Front, replica: Front) -> None:
    person = await front.new_person()
    second = (await front.call("POST", "/api/v1/auth/refresh", {"refresh_token": person.refresh_token})).body
    stolen = await replica.call("POST", "/api/v1/auth/refresh", {"refresh_token": person.refresh_token})
    async with open_verifier(front.host.peer("auth"), "crews") as verifier:
        assert await refused_in_time(front, verifier, second["access_token"])
    owner = await front.call("POST", "/api/v1/auth/refresh", {"refresh_token": second["refresh_token"]})
    assert (stolen.status, owner.status) == (401, 401)


async def test_two_refreshes_at_once_never_both_win(front: Front, replica: Front) -> None:
    person = await front.new_person()
    body = {"refresh_token": person.refresh_token}
    answers = await asyncio.gather(*(each.call("POST", "/api/v1/auth/refresh", body) for each in (front, replica)))
    assert sorted(answer.status for answer in answers) == [200, 401]


async def test_a_logout_reaches_every_service_within_five_seconds(front: Front) -> None:
    person = await front.new_person("viewer")
    async with open_verifier(front.host.peer("auth"), "executor") as verifier:
        assert (await verifier.verify(person.token)).user_id == person.id
        logout = await front.call("POST", "/api/v1/auth/logout", token=person.token)
        assert await refused_in_time(front, verifier, person.token)
    refresh = await front.call("POST", "/api/v1/auth/refresh", {"refresh_token": person.refresh_token})
    assert (logout.status, refresh.status) == (204, 401)


async def test_a_login_right_after_a_logout_works_at_once(front: Front) -> None:
    person = await front.new_person()
    await front.call("POST", "/api/v1/auth/logout", token=person.token)
    fresh = await front.person(person.email)
    async with open_verifier(front.host.peer("auth"), "crews") as verifier:
        assert await refused_in_time(front, verifier, person.token)
        assert (await verifier.verify(fresh.token)).user_id == person.id


async def test_a_new_password_ends_the_other_sessions_and_keeps_this_one(front: Front) -> None:
    here = await front.new_person("viewer")
    elsewhere = await front.person(here.email)
    body = {"current_password": PASSWORD, "new_password": "another long password"}
    answer = await front.call("POST", "/api/v1/auth/password", body, token=here.token)
    async with open_verifier(front.host.peer("auth"), "crews") as verifier:
        assert await refused_in_time(front, verifier, elsewhere.token)
        assert (await verifier.verify(here.token)).user_id == here.id
    refreshes = [
        (await front.call("POST", "/api/v1/auth/refresh", {"refresh_token": person.refresh_token})).status
        for person in (here, elsewhere)
    ]
    logins = [(await front.login(here.email, password)).status for password in (PASSWORD, "another long password")]
    assert answer.status == 204
    assert (refreshes, logins) == ([200, 401], [401, 200])


async def test_a_wrong_current_password_changes_nothing(front: Front) -> None:
    person = await front.new_person()
    body = {"current_password": "not my password", "new_password": "another long password"}
    answer = await front.call("POST", "/api/v1/auth/password", body, token=person.token)
    assert answer.status == 403
    assert (await front.login(person.email)).status == 200


@pytest.mark.parametrize("new", ["eleven char", "{email}"])
async def test_a_weak_new_password_is_refused_with_a_reason(front: Front, new: str) -> None:
    person = await front.new_person()
    body = {"current_password": PASSWORD, "new_password": new.format(email=person.email)}
    answer = await front.call("POST", "/api/v1/auth/password", body, token=person.token)
    assert answer.status == 422
    assert answer.body["errors"][0]["loc"] == ["body", "new_password"]
    assert body["new_password"] not in answer.text


async def test_a_request_without_a_live_token_is_refused_before_its_body_is_looked_at(front: Front) -> None:
    answers = [
        await front.call("PATCH", "/api/v1/auth/me", {"nonsense": 1}, token=token)
        for token in (None, "rubbish", front.admin.token[:-4] + "AAAA")
    ]
    assert [answer.status for answer in answers] == [401, 401, 401]
    assert {answer.headers["Content-Type"] for answer in answers} == {"application/problem+json"}


async def test_people_change_their_own_name_and_preferences(front: Front) -> None:
    person = await front.new_person()
    read = await front.call("GET", "/api/v1/auth/me", token=person.token)
    changes = {**read.body, "display_name": "Ada", "preferences": {"theme": "dark"}}
    changed = await front.call("PATCH", "/api/v1/auth/me", changes, token=person.token, If_Match=read.headers["ETag"])
    stale = await front.call(
        "PATCH", "/api/v1/auth/me", {"display_name": "Eve"}, token=person.token, If_Match=read.headers["ETag"]
    )
    assert (changed.status, stale.status) == (200, 412)
    now = (await front.call("GET", "/api/v1/auth/me", token=person.token)).body
    assert (now["display_name"], now["preferences"]) == ("Ada", {"theme": "dark"})


@pytest.mark.parametrize(
    "body",
    [
        {"email": "a\x00@example.com", "password": PASSWORD},
        {"email": "a@example.com", "password": "\ud800 not a character"},
        {"email": "a@example.com"},
        {"email": "a@example.com", "password": PASSWORD, "\ud800": 1},
        ["not", "an", "object"],
    ],
)
async def test_a_login_that_makes_no_sense_is_a_clear_422(front: Front, body: object) -> None:
    answer = await front.call("POST", "/api/v1/auth/login", body)
    assert answer.status == 422
    assert answer.body["errors"]
