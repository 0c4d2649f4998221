import asyncio
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from kasal_auth.first_admin import FirstAdminMissingError, ensure_first_admin
from kasal_auth.rotation import rotate_encryption
from kasal_auth.settings import AuthSettings, ProviderKeys
from kasal_db import Keyring, open_database
from pydantic import SecretStr, ValidationError

from .front_door import ADMIN_EMAIL, ADMIN_PASSWORD, Front, migrate_auth, open_front, settings_in

CHEAP = PasswordHasher(time_cost=2, memory_cost=7_168, parallelism=1)
PATH = "/api/v1/api-keys/OPENAI_API_KEY"


@pytest.fixture
def own_folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="kasal-auth-") as name:
        yield Path(name)


async def ready(front: Front) -> None:
    """Returns once `/readyz` is 200."""
    async with asyncio.timeout(20):
        while (await front.call("GET", "/readyz")).status != 200:
            await front.call("GET", "/healthz")


async def test_without_a_first_admin_the_service_refuses_to_start(own_folder: Path, database_url: str) -> None:
    settings = settings_in(own_folder, database_url, admin_password=SecretStr(""))
    await migrate_auth(settings)
    with pytest.raises(FirstAdminMissingError, match="KASAL_ADMIN_PASSWORD"):
        async with open_front(settings):
            pass


async def test_an_existing_user_is_enough_and_is_never_overwritten(own_folder: Path, database_url: str) -> None:
    settings = settings_in(own_folder, database_url)
    await migrate_auth(settings)
    async with open_database(database_url, "auth") as database:
        made = await ensure_first_admin(database, ADMIN_EMAIL, SecretStr(ADMIN_PASSWORD), CHEAP)
        again = await ensure_first_admin(database, ADMIN_EMAIL, SecretStr("another password"))
    async with open_front(settings.model_copy(update={"admin_password": SecretStr("")})) as front:
        answers = [await front.login(ADMIN_EMAIL, password) for password in (ADMIN_PASSWORD, "another password")]
    assert (made, again) == (True, False)
    assert [answer.status for answer in answers] == [200, 401]


async def test_replicas_that_start_together_make_one_admin(own_folder: Path, database_url: str) -> None:
    settings = settings_in(own_folder, database_url)
    await migrate_auth(settings)
    async with open_database(database_url, "auth") as database:
        made = await asyncio.gather(
            *(ensure_first_admin(database, ADMIN_EMAIL, SecretStr(ADMIN_PASSWORD), CHEAP) for _ in range(3))
        )
    assert sorted(made) == [False, False, True]


async def test_a_database_that_is_not_there_yet_is_waited_for(own_folder: Path, database_url: str) -> None:
    settings = settings_in(own_folder, database_url)
    async with open_front(settings) as front:
        waiting = await front.call("GET", "/readyz")
        login = await front.login(ADMIN_EMAIL, ADMIN_PASSWORD)
        await migrate_auth(settings)
        await ready(front)
        after = await front.login(ADMIN_EMAIL, ADMIN_PASSWORD)
    assert waiting.status == 503
    assert "kasal migrate" in waiting.body["checks"]["auth"]
    assert login.status >= 500
    assert after.status == 200


async def test_a_database_server_that_is_away_is_named_by_readyz(own_folder: Path) -> None:
    settings = settings_in(own_folder, "postgresql://nobody@127.0.0.1:9/nowhere")
    async with open_front(settings) as front:
        answer = await front.call("GET", "/readyz")
        login = await front.login(ADMIN_EMAIL, ADMIN_PASSWORD)
    assert answer.status == 503
    assert "database" in answer.body["checks"]["database"]
    assert login.status == 503


async def test_tokens_outlive_a_restart_and_a_rotation_of_the_master_keys(own_folder: Path, database_url: str) -> None:
    old, new = Keyring.generate("k1"), Keyring.generate("k2")
    settings = settings_in(own_folder, database_url, encryption_keys=SecretStr(old))
    await migrate_auth(settings)
    async with open_front(settings) as front:
        admin = await front.person(ADMIN_EMAIL, ADMIN_PASSWORD)
        await front.call("PUT", PATH, {"value": "sk-kept-for-ever"}, token=admin.token)
    async with open_database(database_url, "auth") as database:
        rotated = await rotate_encryption(database, Keyring.parse(SecretStr(f"{new},{old}")))
        again = await rotate_encryption(database, Keyring.parse(SecretStr(f"{new},{old}")))
    async with open_front(settings.model_copy(update={"encryption_keys": SecretStr(new)})) as front:
        answer = await front.call("GET", PATH, token=admin.token)
        keys = (await front.call("GET", "/.well-known/jwks.json")).body["keys"]
    assert (rotated, again) == (2, 0)
    assert answer.status == 200
    assert len(keys) == 1


async def test_lost_master_keys_do_not_stop_logins(own_folder: Path, database_url: str) -> None:
    settings = settings_in(own_folder, database_url)
    await migrate_auth(settings)
    async with open_front(settings) as front:
        admin = await front.person(ADMIN_EMAIL, ADMIN_PASSWORD)
    lost = settings.model_copy(update={"encryption_keys": SecretStr(Keyring.generate("k2"))})
    async with open_front(lost) as front:
        old = await front.call("GET", "/api/v1/auth/me", token=admin.token)
        login = await front.login(ADMIN_EMAIL, ADMIN_PASSWORD)
        keys = (await front.call("GET", "/.well-known/jwks.json")).body["keys"]
    assert (old.status, login.status) == (200, 200)
    assert len(keys) == 2


async def test_missing_encryption_keys_are_said_in_one_sentence(own_folder: Path) -> None:
    settings = settings_in(own_folder, f"sqlite:///{own_folder}", encryption_keys=SecretStr(""))
    with pytest.raises(ValueError, match="KASAL_ENCRYPTION_KEYS"):
        async with open_front(settings):
            pass


def test_passwords_cannot_be_configured_cheap_and_tokens_not_to_outlive_their_revocation() -> None:
    for weak in ({"argon2_memory_kib": 1024}, {"argon2_iterations": 1}, {"access_token_lifetime": "PT1H"}):
        with pytest.raises(ValidationError):
            AuthSettings.model_validate(weak)


def test_provider_keys_come_from_the_environment_under_their_usual_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant")
    monkeypatch.setenv("GROQ_API_KEY", "")
    present = AuthSettings().provider_keys.present()
    assert present["ANTHROPIC_API_KEY"].get_secret_value() == "sk-ant"
    assert "GROQ_API_KEY" not in present
    assert "sk-ant" not in repr(ProviderKeys())
