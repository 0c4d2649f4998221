"""Fixtures for every suite: a database of one's own on both kinds of database, and a real broker."""

import asyncio
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from kasal_runtime.logs import configure_logs

from .queues import own_queues
from .servers import POSTGRES, RABBITMQ, NoServerError, server


def pytest_configure() -> None:
    configure_logs(json=False, level="warning")


@contextmanager
def postgres_database(server_url: str) -> Generator[str]:
    """An empty database, as a URL; dropped when the context closes."""
    name = f"kasal_test_{uuid.uuid4().hex[:12]}"
    asyncio.run(_execute(server_url, f'create database "{name}"'))
    try:
        yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
    finally:
        asyncio.run(_execute(server_url, f'drop database "{name}" with (force)'))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def amqp_url() -> Generator[str]:
    """A RabbitMQ that answers."""
    try:
        with server(RABBITMQ) as url:
            yield url
    except NoServerError as error:
        pytest.exit(str(error), returncode=2)


@pytest.fixture(scope="session")
def postgres_server() -> Generator[str]:
    """A PostgreSQL that answers; make databases of your own in it."""
    try:
        with server(POSTGRES) as url:
            yield url
    except NoServerError as error:
        pytest.exit(str(error), returncode=2)


@pytest.fixture
def postgres_url(postgres_server: str) -> Generator[str]:
    """An empty PostgreSQL database, dropped afterwards."""
    with postgres_database(postgres_server) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def amqp_prefix(amqp_url: str) -> Generator[str]:
    """Goes before the names of this test's queues, so that tests share a broker."""
    with own_queues(amqp_url) as prefix:
        yield prefix
