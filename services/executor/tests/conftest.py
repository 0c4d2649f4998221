import asyncio
from collections.abc import Iterator

import pytest
from kasal_db.migrations import migrate
from kasal_executor.service import NAME, SERVICE
from kasal_executor.tables import ExecutorTable
from kasal_testing.plugin import postgres_database


@pytest.fixture(scope="session", params=["embedded", "distributed"])
def kind(request: pytest.FixtureRequest) -> str:
    """SQLite and the in-process bus, or PostgreSQL and RabbitMQ."""
    return str(request.param)


@pytest.fixture(scope="session")
def migrated_url(kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One migrated database of this kind for all tests, which keep apart by themselves."""
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
