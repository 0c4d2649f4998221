"""One memory service on each kind of database for the whole suite. Tests keep apart by their groups."""

import tempfile
from collections.abc import AsyncIterator, Generator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from kasal_contracts.ids import new_id
from kasal_testing.plugin import postgres_database

from .surroundings import Replica, World, make_tables, open_world


@pytest.fixture(scope="session")
def short_folder() -> Generator[Path]:
    """The names of Unix sockets end at 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="kasal-") as path:
        yield Path(path)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def shared_database_url(request: pytest.FixtureRequest, short_folder: Path) -> Generator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{short_folder / 'db'}"
        return
    with postgres_database(request.getfixturevalue("postgres_server")) as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(shared_database_url: str, short_folder: Path) -> AsyncIterator[World]:
    await make_tables(shared_database_url)
    folder = Path(tempfile.mkdtemp(dir=short_folder))
    async with open_world(folder, shared_database_url) as world:
        yield world


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_replica(world: World) -> AsyncIterator[Replica]:
    async with world.replica() as replica:
        yield replica


@pytest.fixture
def memory(shared_replica: Replica) -> Replica:
    """The service, seen from a group of this test's own."""
    return replace(shared_replica, group=new_id())
