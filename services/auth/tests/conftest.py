"""One auth service for each kind of database, shared by all tests: they make people and groups of their own."""

import tempfile
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
import pytest_asyncio
from kasal_testing.plugin import postgres_database

from .front_door import ADMIN_EMAIL, ADMIN_PASSWORD, Front, Leases, migrate_auth, open_executor, open_front, settings_in


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def shared_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('auth')}"
        return
    with postgres_database(request.getfixturevalue("postgres_server")) as url:
        yield url


@pytest.fixture(scope="session")
def folder(shared_url: str) -> Generator[Path]:
    """Short enough for a socket's path."""
    del shared_url
    with tempfile.TemporaryDirectory(prefix="kasal-auth-") as name:
        yield Path(name)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def front(shared_url: str, folder: Path) -> AsyncGenerator[Front]:
    settings = settings_in(folder, shared_url)
    await migrate_auth(settings)
    async with open_front(settings) as opened:
        opened.admin = await opened.person(ADMIN_EMAIL, ADMIN_PASSWORD)
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def replica(front: Front, folder: Path) -> AsyncGenerator[Front]:
    """A second auth on the same database."""
    settings = front.settings.model_copy(update={"auth_url": f"unix:{folder}/replica.sock"})
    async with open_front(settings) as opened:
        opened.admin = front.admin
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def leases(front: Front) -> AsyncGenerator[Leases]:
    async with open_executor(front.settings) as opened:
        yield opened
