"""A planted key, the administrator's password and every token stay where they belong."""

import re
from pathlib import Path

import anyio
import asyncpg
from kasal_contracts.executions import Status
from kasal_contracts.ids import new_id
from kasal_contracts.models import Provider
from kasal_db import Keyring
from kasal_testing.scripted_llm import ScriptedLlm, Text
from kasal_testing.stacks import Stack

from .conftest import PASSWORD, logged_in
from .crews import crew

PLANTED = "sk-planted-9f8e7d6c5b4a"
TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")


async def test_no_secret_is_in_a_log_an_event_or_the_database(up: Stack) -> None:
    name = f"keyed/{new_id()}"
    with logged_in(up.url) as kasal:
        kasal.api_keys.put("PLANTED_KEY", PLANTED)
        async with ScriptedLlm(Text("Done.")) as llm:
            kasal.models.create(name, Provider.OPENAI_COMPATIBLE, "m", base_url=llm.url, api_key_name="PLANTED_KEY")
            execution = kasal.executions.submit(crew("one", model=name))
            ended = await anyio.to_thread.run_sync(kasal.executions.wait, execution.id)
            used = llm.requests[0].headers
        answers = [kasal.api_keys.list().model_dump_json(), ended.model_dump_json()]
        answers += [event.model_dump_json() for event in kasal.executions.events(execution.id)]
    assert ended.status is Status.SUCCEEDED
    assert {key.lower(): value for key, value in used.items()}["authorization"] == f"Bearer {PLANTED}"
    told = [*answers, *_logs(up), *await _everything(up.environment["KASAL_DATABASE_URL"])]
    assert sum(map(len, told)) > 10_000
    for text in told:
        assert PLANTED not in text
        assert PASSWORD not in text
        assert not TOKEN.search(text), text[:200]


def test_what_kasal_dev_writes_is_its_owners_alone(dev: Stack) -> None:
    written = [path for path in dev.data_dir.rglob("*") if path.is_file() and path != dev.log]
    open_to_others = {path for path in written if path.stat().st_mode & 0o077}
    assert {"auth.db", "bootstrap.key", "credential.json"} <= {path.name for path in written}
    assert not open_to_others


def _logs(stack: Stack) -> list[str]:
    return [path.read_text() for path in Path(stack.data_dir).glob("*.log")]


async def _everything(url: str) -> list[str]:
    """Every row of every table, as text."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(
            "select schemaname, tablename from pg_tables where schemaname in ('auth', 'crews', 'executor', 'memory')"
        )
        rows = [
            await connection.fetch(f'select t::text from "{table["schemaname"]}"."{table["tablename"]}" t')
            for table in tables
        ]
    finally:
        await connection.close()
    return [row[0] for found in rows for row in found]


def test_master_keys_rotate_and_stored_keys_still_work(up: Stack) -> None:
    newest = Keyring.generate("newer")
    both = f"{newest},{up.environment['KASAL_ENCRYPTION_KEYS']}"
    with logged_in(up.url) as kasal:
        kasal.api_keys.put("ROTATED_KEY", "sk-before")
    done = up.kasal("keys", "rotate", KASAL_ENCRYPTION_KEYS=both)
    again = up.kasal("keys", "rotate", KASAL_ENCRYPTION_KEYS=newest)
    back = up.kasal("keys", "rotate", KASAL_ENCRYPTION_KEYS=f"{up.environment['KASAL_ENCRYPTION_KEYS']},{newest}")
    assert (done.returncode, again.returncode, back.returncode) == (0, 0, 0), done.stderr + again.stderr
    assert "newer" in done.stdout
