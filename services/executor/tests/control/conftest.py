import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path

import aio_pika
import httpx
import pytest
from kasal_bus import Bus, open_memory, open_rabbit
from kasal_bus.topology import TOPICS, WORK_QUEUES
from kasal_contracts.ids import new_id
from kasal_db import Database, db_now, open_database
from kasal_db.migrations import migrate
from kasal_executor.service import NAME, SERVICE
from kasal_executor.settings import ControlSettings
from kasal_executor.tables import Execution, ExecutorTable, IdempotencyKey, Leader, Worker
from kasal_runtime.hosting import serving
from kasal_testing.issuer import Issuer, open_issuer
from kasal_testing.plugin import postgres_database
from pydantic import SecretStr
from sqlalchemy import delete, update

from .stage import Crews, Stage, open_control_plane

NewBus = Callable[[], AbstractAsyncContextManager[Bus]]


@pytest.fixture(scope="session", params=["embedded", "distributed"])
def kind(request: pytest.FixtureRequest) -> str:
    """SQLite and the in-process bus, or PostgreSQL and RabbitMQ."""
    return str(request.param)


@pytest.fixture(scope="session")
def migrated_url(kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One database for all tests of a kind; each finds it empty."""
    if kind == "embedded":
        url = f"sqlite:///{tmp_path_factory.mktemp('db')}"
        asyncio.run(_migrate(url))
        yield url
        return
    with postgres_database(request.getfixturevalue("postgres_server")) as url:
        asyncio.run(_migrate(url))
        yield url


async def _migrate(url: str) -> None:
    assert SERVICE.versions is not None
    await migrate(url, NAME, SERVICE.versions, ExecutorTable.metadata)


@pytest.fixture
async def database(migrated_url: str) -> AsyncIterator[Database]:
    async with open_database(migrated_url, NAME) as database:
        async with database.system() as session:
            for table in (Execution, IdempotencyKey, Worker):
                await session.execute(delete(table))
            await session.execute(update(Leader).values(until=db_now(timedelta(days=-1))))
        yield database


@pytest.fixture(scope="session")
def prefixed_rabbit(request: pytest.FixtureRequest) -> Iterator[NewBus]:
    """Queues of our own for all tests. A quorum queue costs its broker files, so they are deleted at the end."""
    url, prefix = request.getfixturevalue("amqp_url"), f"control-test-{new_id()}."
    yield partial(open_rabbit, url, prefix=prefix)
    asyncio.run(_delete_queues(url, prefix))


async def _delete_queues(url: str, prefix: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for queue in WORK_QUEUES:
            await channel.queue_delete(prefix + queue.name)
            await channel.queue_delete(prefix + queue.dead.name)
        for topic in TOPICS:
            await channel.exchange_delete(prefix + topic.name)


@pytest.fixture
async def new_bus(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[NewBus]:
    """Opens what another process would see of this test's bus."""
    if kind == "distributed":
        yield request.getfixturevalue("prefixed_rabbit")
        return
    async with open_memory() as bus:
        yield lambda: nullcontext(bus)


@pytest.fixture
async def bus(new_bus: NewBus) -> AsyncIterator[Bus]:
    async with new_bus() as bus:
        yield bus


@pytest.fixture
def sockets() -> Iterator[Path]:
    """Short enough for a socket's path."""
    with tempfile.TemporaryDirectory(prefix="kasal-") as folder:
        yield Path(folder)


@pytest.fixture
async def issuer(sockets: Path) -> AsyncIterator[Issuer]:
    async with open_issuer(sockets / "auth.sock") as issuer:
        yield issuer


@pytest.fixture
async def crews(sockets: Path) -> AsyncIterator[Crews]:
    crews = Crews()
    async with serving(crews.app(), uds=sockets / "crews.sock"):
        yield crews


@pytest.fixture
def settings(migrated_url: str, sockets: Path) -> ControlSettings:
    (sockets / "bootstrap.key").write_text("not used here")
    return ControlSettings(
        database_url=SecretStr(migrated_url),
        secret_dir=sockets,
        auth_url=f"unix:{sockets}/auth.sock",
        crews_url=f"unix:{sockets}/crews.sock",
        lease=timedelta(milliseconds=400),
        leader_lease=timedelta(seconds=2),
        republish=timedelta(milliseconds=500),
        tick=timedelta(milliseconds=100),
    )


@pytest.fixture
async def client(
    settings: ControlSettings, bus: Bus, database: Database, issuer: Issuer, crews: Crews
) -> AsyncIterator[httpx.AsyncClient]:
    """One control plane, after the services around it."""
    async with open_control_plane(settings, bus) as client:
        yield client


@pytest.fixture
def stage(
    settings: ControlSettings,
    bus: Bus,
    database: Database,
    issuer: Issuer,
    crews: Crews,
    client: httpx.AsyncClient,
) -> Stage:
    return Stage(settings, bus, database, issuer, crews, client)
