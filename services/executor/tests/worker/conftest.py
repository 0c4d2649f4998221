from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kasal_bus import Bus, open_memory, open_rabbit
from kasal_db import Database, open_database
from kasal_executor.service import NAME


@pytest.fixture
async def database(migrated_url: str) -> AsyncIterator[Database]:
    async with open_database(migrated_url, NAME) as opened:
        yield opened


@pytest.fixture
async def bus(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    if kind == "embedded":
        async with open_memory() as memory:
            yield memory
        return
    url, prefix = (request.getfixturevalue(name) for name in ("amqp_url", "amqp_prefix"))
    async with open_rabbit(url, prefix=prefix) as rabbit:
        yield rabbit


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short enough for sockets, whatever the name of the test."""
    return tmp_path_factory.mktemp("w")
