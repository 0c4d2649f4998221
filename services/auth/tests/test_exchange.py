import asyncio

import pytest
from kasal_contracts.errors import UnauthenticatedError
from kasal_contracts.identity import Act, Role
from kasal_runtime.tokens import open_verifier

from .front_door import BOOTSTRAP_KEY, Answer, Front

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def exchange(front: Front, **body: str | None) -> Answer:
    token = await front.service_token("gateway")
    return await front.call("POST", "/internal/exchange", body, token=token)


async def test_a_token_is_exchanged_for_another_group_of_the_user(front: Front) -> None:
    person, second = await front.new_person("viewer"), await front.new_group()
    await front.add(second, person.email, "operator")
    answer = await exchange(front, token=person.token, group_id=second)
    assert (answer.status, answer.body["group_id"], answer.body["role"]) == (200, second, "operator")
    there = await front.host.verifier.verify(answer.body["access_token"])
    here = await front.host.verifier.verify(person.token)
    assert (there.group_id, there.role) == (second, Role.OPERATOR)
    assert there.session_id == here.session_id


async def test_a_group_that_the_user_is_not_in_is_not_found(front: Front) -> None:
    person, strange = await front.new_person("admin"), await front.new_group()
    answers = [await exchange(front, token=person.token, group_id=group) for group in (strange, "nowhere", "n\x00l")]
    assert [answer.status for answer in answers] == [404, 404, 404]


async def test_a_token_of_an_ended_session_is_refused_at_once(front: Front) -> None:
    person = await front.new_person("viewer")
    await front.call("POST", "/api/v1/auth/logout", token=person.token)
    answers = [await exchange(front, token=person.token), await exchange(front, token="rubbish"), await exchange(front)]
    assert [answer.status for answer in answers] == [401, 401, 401]


async def test_a_removed_member_cannot_exchange_a_token_for_the_group(front: Front) -> None:
    person = await front.new_person("viewer")
    path = f"/api/v1/groups/{person.group_id}/members/{person.id}"
    await front.call("DELETE", path, token=front.admin.token)
    answer = await exchange(front, token=person.token, group_id=person.group_id)
    assert answer.status in {401, 404}


async def test_only_services_exchange(front: Front) -> None:
    person = await front.new_person("admin")
    answer = await front.call("POST", "/internal/exchange", {"token": person.token}, token=person.token)
    service = await front.service_token("gateway")
    circular = await exchange(front, token=service)
    assert (answer.status, circular.status) == (403, 401)


async def test_a_ticket_works_once(front: Front, replica: Front) -> None:
    person = await front.new_person("operator")
    made = await front.call("POST", "/api/v1/auth/ticket", token=person.token)
    first = await exchange(replica, ticket=made.body["ticket"])
    second = await exchange(front, ticket=made.body["ticket"])
    assert made.body["expires_in"] == 30
    assert (first.status, second.status) == (200, 401)
    caller = await front.host.verifier.verify(first.body["access_token"])
    assert (caller.user_id, caller.group_id, caller.role) == (person.id, person.group_id, Role.OPERATOR)


async def test_a_ticket_that_many_use_at_once_lets_one_in(front: Front, replica: Front) -> None:
    person = await front.new_person("operator")
    ticket = (await front.call("POST", "/api/v1/auth/ticket", token=person.token)).body["ticket"]
    answers = await asyncio.gather(*(exchange(each, ticket=ticket) for each in (front, replica) * 3))
    assert sorted(answer.status for answer in answers) == [200, 401, 401, 401, 401, 401]


async def test_a_ticket_of_an_ended_session_is_refused(front: Front) -> None:
    person = await front.new_person("operator")
    ticket = (await front.call("POST", "/api/v1/auth/ticket", token=person.token)).body["ticket"]
    await front.call("POST", "/api/v1/auth/logout", token=person.token)
    answer = await exchange(front, ticket=ticket)
    assert answer.status == 401


async def test_a_service_token_speaks_for_an_attempt_to_one_service_for_five_minutes(front: Front) -> None:
    act = Act(group_id="g", user_id="u", execution_id="e", attempt=2)
    body = {"service": "worker", "audience": "executor", "act": act.model_dump()}
    answer = await front.call("POST", "/internal/service-tokens", body, X_Kasal_Bootstrap=BOOTSTRAP_KEY)
    assert answer.body["expires_in"] == 300
    async with open_verifier(front.host.peer("auth"), "executor") as executor:
        caller = await executor.verify(answer.body["token"])
    assert (caller.user_id, caller.service, caller.group_id) == ("service:worker", "worker", "g")
    assert (caller.act, caller.role) == (act, Role.VIEWER)
    async with open_verifier(front.host.peer("auth"), "memory") as memory:
        with pytest.raises(UnauthenticatedError):
            await memory.verify(answer.body["token"])


async def test_without_the_bootstrap_key_there_is_no_service_token(front: Front) -> None:
    body = {"service": "worker", "audience": "auth"}
    answers = [
        await front.call("POST", "/internal/service-tokens", body),
        await front.call("POST", "/internal/service-tokens", body, X_Kasal_Bootstrap="guess"),
        await front.call("POST", "/internal/service-tokens", body, token=front.admin.token),
    ]
    assert [answer.status for answer in answers] == [401, 401, 401]


async def test_a_service_token_opens_no_route_for_people(front: Front) -> None:
    token = await front.service_token("worker", Act(group_id=front.admin.group_id or "", user_id=front.admin.id))
    answers = [
        await front.call("GET", path, token=token)
        for path in ("/api/v1/auth/me", "/api/v1/users", "/api/v1/groups", "/api/v1/api-keys")
    ]
    assert [answer.status for answer in answers] == [403] * 4
