"""What lies on disk and what is logged. The service runs in a process of its own, so that all its output is seen."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from kasal_auth.settings import AuthSettings
from kasal_contracts.identity import Act
from kasal_db import open_database
from sqlalchemy import inspect, text

from .front_door import PASSWORD, Front, Leases, open_client

pytestmark = pytest.mark.asyncio(loop_scope="session")

VALUE = "sk-planted-value-7Q9z"
KEY = "/api/v1/api-keys/OPENAI_API_KEY"


@asynccontextmanager
async def served(settings: AuthSettings, log: Path) -> AsyncGenerator[None]:
    """Serves auth in a process that has ended when the context closes; `log` is then complete."""
    environment = {
        "PATH": "",
        "KASAL_DATABASE_URL": settings.database_url.get_secret_value(),
        "KASAL_ENCRYPTION_KEYS": settings.encryption_keys.get_secret_value(),
        "KASAL_SECRET_DIR": str(settings.secret_dir),
        "KASAL_AUTH_URL": settings.auth_url,
        "KASAL_EXECUTOR_URL": settings.executor_url,
    }
    script = str(Path(__file__).with_name("served.py"))
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            script,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=output,
            env=environment,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == b"serving\n"
        yield
        process.stdin.close()
        async with asyncio.timeout(15):
            assert await process.wait() == 0


async def everything_stored(settings: AuthSettings) -> str:
    """Every row of every table, as text."""
    rows: list[str] = []
    url = settings.database_url.get_secret_value()
    async with open_database(url, "auth") as database, database.engine.connect() as connection:
        for table in await connection.run_sync(lambda sync: inspect(sync).get_table_names()):
            rows += [str(tuple(row)) for row in await connection.execute(text(f'select * from "{table}"'))]
    return "\n".join(rows)


async def test_no_secret_is_stored_or_logged_in_clear(front: Front, folder: Path, leases: Leases) -> None:
    password = "a planted password 4711"
    settings = front.settings.model_copy(update={"auth_url": f"unix:{folder}/served.sock"})
    log = folder / "served.log"
    async with served(settings, log), open_client(settings, front.host) as other:
        other.admin = front.admin
        person = await other.new_person("admin")
        body = {"current_password": PASSWORD, "new_password": password}
        await other.call("POST", "/api/v1/auth/password", body, token=person.token)
        await other.call("PUT", KEY, {"value": VALUE}, token=person.token)
        await other.call("POST", f"{KEY}/rotate", {"value": VALUE}, token=person.token)
        ticket = (await other.call("POST", "/api/v1/auth/ticket", token=person.token)).body["ticket"]
        fresh = await other.person(person.email, password)
        await other.login(person.email, password + "!")
        act = Act(group_id=person.group_id or "", user_id=person.id, execution_id="planted", attempt=1)
        leases.live.add(("planted", 1))
        service = await other.service_token("worker", act)
        handed = await other.call("POST", "/internal/credentials", {"name": "OPENAI_API_KEY"}, token=service)
    secrets = [VALUE, password, person.token, fresh.token, fresh.refresh_token, ticket, service]
    stored, logged = await everything_stored(settings), log.read_text()
    assert handed.body["value"] == VALUE
    assert person.email in stored
    assert "credential_read" in logged
    assert not [secret for secret in secrets if secret in stored or secret in logged]
