import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from kasal_bus import Bus, open_memory, open_rabbit
from kasal_db import Database, open_database
from kasal_db.migrations import migrate
from kasal_executor.service import NAME, SERVICE
from kasal_executor.tables import ExecutorTable
from kasal_testing.plugin import postgres_database

KINDS = ["sqlite, in-process", "postgresql, rabbitmq"]


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def migrated_url(kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One migrated database of this kind for all tests, each of which has executions of its own."""
    if kind.startswith("sqlite"):
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
    async with open_database(migrated_url, NAME) as opened:
        yield opened


@pytest.fixture
async def bus(kind: str, request: pytest.FixtureRequest, amqp_prefix: str) -> AsyncIterator[Bus]:
    if kind.startswith("sqlite"):
        async with open_memory() as memory:
            yield memory
        return
    async with open_rabbit(request.getfixturevalue("amqp_url"), prefix=amqp_prefix) as rabbit:
        yield rabbit


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short enough for sockets, whatever the name of the test."""
    return tmp_path_factory.mktemp("w")
