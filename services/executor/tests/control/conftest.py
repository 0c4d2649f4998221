import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path

import pytest
from kasal_bus import Bus, open_memory, open_rabbit
from kasal_db import open_database
from kasal_db.migrations import migrate
from kasal_executor.service import NAME, SERVICE
from kasal_executor.settings import ControlSettings
from kasal_runtime.hosting import serving
from kasal_testing.issuer import open_issuer
from kasal_testing.plugin import postgres_database
from pydantic import SecretStr
from sqlalchemy import text, update

from kasal_executor.tables import ExecutorTable, Leader

from .stage import Crews, Stage, open_control_plane

KINDS = ["sqlite, in-process", "postgresql, rabbitmq"]


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def migrated_url(kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One migrated database of this kind for all tests, which empty it."""
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
