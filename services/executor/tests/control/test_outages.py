"""A database that is away: everything waits, nothing is lost, and nobody is blamed for its silence."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from kasal_bus import Bus, open_memory
from kasal_db import db_now, open_database
from kasal_db.migrations import migrate
from kasal_executor.service import NAME, SERVICE
from kasal_executor.tables import Execution, ExecutorTable
from kasal_runtime.hosting import serving
from kasal_testing.issuer import open_issuer
from sqlalchemy import update

from .conftest import settings_in
from .stage import Crews, Stage, event, open_control_plane, succeeded

URL = "/api/v1/execution"


class Relay:
    """Stands between the control plane and its database. `cut` drops every connection and takes no new one."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._is_open = True
        self._writers: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[int]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        self._is_open = False
        for writer in self._writers:
            writer.close()

    def mend(self) -> None:
        self._is_open = True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_open:
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, far_writer}
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        self._writers -= {writer, far_writer}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def relay(postgres_url: str) -> AsyncIterator[tuple[Relay, str]]:
    """A relay, and the URL of a migrated database behind it."""
    assert SERVICE.versions is not None
    await migrate(postgres_url, NAME, SERVICE.versions, ExecutorTable.metadata)
    parts = urlsplit(postgres_url)
    relay = Relay(parts.hostname or "127.0.0.1", parts.port or 5432)
    async with relay.running() as port:
        user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        yield relay, parts._replace(netloc=f"{user}127.0.0.1:{port}").geturl()


@asynccontextmanager
async def open_stage(url: str, direct_url: str, folder: Path, bus: Bus) -> AsyncGenerator[Stage]:
    """The control plane reaches its database through the relay, the test goes straight to it."""
    crews = Crews()
    settings = settings_in(folder, url)
    async with (
        open_issuer(folder / "auth.sock") as issuer,
        serving(crews.app(), uds=folder / "crews.sock"),
        open_database(direct_url, NAME) as database,
        open_control_plane(settings, bus) as client,
    ):
        yield Stage(settings, bus, database, issuer, crews, client)


async def readiness(stage: Stage, status: int) -> dict[str, str]:
    """The checks, once `/readyz` answers with `status`."""
    async with asyncio.timeout(15):
        while (answer := await stage.client.get("/readyz")).status_code != status:
            pass
    checks: dict[str, str] = answer.json()["checks"]
    return checks


async def test_reports_wait_for_the_database_and_come_through(
    relay: tuple[Relay, str], postgres_url: str, tmp_path: Path
) -> None:
    line, url = relay
    async with open_memory() as bus, open_stage(url, postgres_url, tmp_path, bus) as stage:
        execution_id = await stage.submitted_and_claimed()
        async with stage.watching(execution_id) as ear:
            line.cut()
            checks = await readiness(stage, 503)
            refused = await stage.call("POST", URL, {"crew_id": "saved", "inputs": {"topic": "AI"}})
            await stage.report(execution_id, [event(1, "task.started")], outcome=succeeded(1))
            line.mend()
            await ear.event("execution.succeeded")
        await readiness(stage, 200)
        page = await stage.get(f"{URL}/{execution_id}/events")

    assert checks["broker"] == "ok"
    assert "database" in checks["database"]
    assert refused.status_code == 503
    assert [each["id"] for each in page["items"]] == [1, 2, 3]


async def test_after_an_outage_expired_leases_get_their_time_to_be_renewed(
    relay: tuple[Relay, str], postgres_url: str, tmp_path: Path
) -> None:
    line, url = relay
    async with open_memory() as bus, open_stage(url, postgres_url, tmp_path, bus) as stage:
        execution_id = await stage.submit()
        async with stage.watching(execution_id) as ear:
            await stage.claim(execution_id, lease=timedelta(seconds=1))
            line.cut()
            await readiness(stage, 503)
            # The lease runs out while nobody could renew it; a worker that lives renews it as soon as it can.
            await lapse(stage, execution_id)
            line.mend()
            await renew(stage, execution_id)
            lost = await stage.submitted_and_claimed()
            async with stage.watching(lost) as other:
                await lapse(stage, lost)
                await other.event("execution.retrying")
            row = await stage.row(execution_id)

    assert (row.attempt, row.lost_leases) == (1, 0)
    assert ear.events == []


async def lapse(stage: Stage, execution_id: str) -> None:
    await _lease(stage, execution_id, timedelta(seconds=-1))


async def renew(stage: Stage, execution_id: str) -> None:
    await _lease(stage, execution_id, timedelta(minutes=1))


async def _lease(stage: Stage, execution_id: str, left: timedelta) -> None:
    async with stage.database.system() as session:
        await session.execute(update(Execution).where(Execution.id == execution_id).values(lease_until=db_now(left)))
