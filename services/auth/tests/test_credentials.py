from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from kasal_contracts.identity import Act
from kasal_contracts.ids import new_id
from kasal_db import Keyring
from pydantic import SecretStr

from .front_door import ENVIRONMENT_KEY, Answer, Front, Leases, Person, open_front

pytestmark = pytest.mark.asyncio(loop_scope="session")

VALUE = "sk-of-the-group-0042"


@pytest_asyncio.fixture(loop_scope="session")
async def boss(front: Front) -> AsyncGenerator[Person]:
    yield await front.new_person("admin")


async def ask(front: Front, act: Act | None, name: str) -> Answer:
    token = await front.service_token("worker", act)
    return await front.call("POST", "/internal/credentials", {"name": name}, token=token)


def attempt_of(person: Person, leases: Leases, *, live: bool = True) -> Act:
    assert person.group_id is not None
    act = Act(group_id=person.group_id, user_id=person.id, execution_id=new_id(), attempt=1)
    if live:
        leases.live.add((str(act.execution_id), 1))
    return act


async def test_the_groups_own_key_comes_before_the_environments(front: Front, leases: Leases, boss: Person) -> None:
    act = attempt_of(boss, leases)
    before = await ask(front, act, "OPENAI_API_KEY")
    await front.call("PUT", "/api/v1/api-keys/OPENAI_API_KEY", {"value": VALUE}, token=boss.token)
    after = await ask(front, act, "OPENAI_API_KEY")
    assert before.body == {"name": "OPENAI_API_KEY", "value": ENVIRONMENT_KEY, "source": "environment"}
    assert after.body == {"name": "OPENAI_API_KEY", "value": VALUE, "source": "group"}


async def test_another_usual_name_of_the_same_key_is_found(front: Front, leases: Leases, boss: Person) -> None:
    act = attempt_of(boss, leases)
    environment = await ask(front, act, "DATABRICKS_TOKEN")
    await front.call("PUT", "/api/v1/api-keys/DATABRICKS_API_KEY", {"value": VALUE}, token=boss.token)
    group = await ask(front, act, "DATABRICKS_TOKEN")
    assert environment.body["source"] == "environment"
    assert (group.body["name"], group.body["value"]) == ("DATABRICKS_API_KEY", VALUE)


async def test_a_key_that_nobody_has_is_not_found(front: Front, leases: Leases, boss: Person) -> None:
    answers = [await ask(front, attempt_of(boss, leases), name) for name in ("ANTHROPIC_API_KEY", "NUL\x00")]
    assert [answer.status for answer in answers] == [404, 404]


async def test_a_key_is_handed_to_the_holder_of_a_live_lease_only(front: Front, leases: Leases, boss: Person) -> None:
    act = attempt_of(boss, leases, live=False)
    answers = [
        await ask(front, act, "OPENAI_API_KEY"),
        await ask(front, act.model_copy(update={"execution_id": None}), "OPENAI_API_KEY"),
        await ask(front, None, "OPENAI_API_KEY"),
        await front.call("POST", "/internal/credentials", {"name": "OPENAI_API_KEY"}, token=boss.token),
    ]
    assert [answer.status for answer in answers] == [403] * 4


async def test_one_group_never_gets_the_key_of_another(front: Front, leases: Leases, boss: Person) -> None:
    stranger = await front.new_person("admin")
    await front.call("PUT", "/api/v1/api-keys/ANTHROPIC_API_KEY", {"value": VALUE}, token=boss.token)
    theirs = await ask(front, attempt_of(stranger, leases), "ANTHROPIC_API_KEY")
    ours = await ask(front, attempt_of(boss, leases), "ANTHROPIC_API_KEY")
    assert (theirs.status, ours.body["value"]) == (404, VALUE)


async def test_an_expired_key_is_an_error_that_names_it_and_nothing_replaces_it(
    front: Front, leases: Leases, boss: Person
) -> None:
    body = {"value": VALUE, "expires_at": "2020-01-01T00:00:00Z"}
    await front.call("PUT", "/api/v1/api-keys/OPENAI_API_KEY", body, token=boss.token)
    answer = await ask(front, attempt_of(boss, leases), "OPENAI_API_KEY")
    assert answer.status == 410
    assert "OPENAI_API_KEY" in answer.body["detail"]
    assert VALUE not in answer.text


async def test_a_key_that_cannot_be_decrypted_is_an_error_that_names_it(
    front: Front, leases: Leases, boss: Person
) -> None:
    newer = f"{Keyring.generate('k2')},{front.settings.encryption_keys.get_secret_value()}"
    changes = {"auth_url": f"{front.settings.auth_url}.newer", "encryption_keys": SecretStr(newer)}
    async with open_front(front.settings.model_copy(update=changes)) as other:
        await other.call("PUT", "/api/v1/api-keys/OPENAI_API_KEY", {"value": VALUE}, token=boss.token)
        there = await ask(other, attempt_of(boss, leases), "OPENAI_API_KEY")
    answer = await ask(front, attempt_of(boss, leases), "OPENAI_API_KEY")
    assert there.body["value"] == VALUE
    assert answer.status == 409
    assert "OPENAI_API_KEY" in answer.body["detail"]


async def test_people_learn_which_keys_their_group_can_use(front: Front, boss: Person) -> None:
    expired = {"value": VALUE, "expires_at": "2020-01-01T00:00:00Z"}
    await front.call("PUT", "/api/v1/api-keys/GEMINI_API_KEY", {"value": VALUE}, token=boss.token)
    await front.call("PUT", "/api/v1/api-keys/OPENAI_API_KEY", expired, token=boss.token)
    viewer = await front.new_person("viewer", boss.group_id)
    answer = await front.call("GET", "/internal/credentials/available", token=viewer.token)
    assert {item["name"]: item["source"] for item in answer.body["items"]} == {
        "DATABRICKS_API_KEY": "environment",
        "DATABRICKS_TOKEN": "environment",
        "GEMINI_API_KEY": "group",
        "GOOGLE_API_KEY": "group",
    }
    assert VALUE not in answer.text
