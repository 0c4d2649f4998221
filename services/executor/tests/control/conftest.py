import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from kasal_bus import Bus, open_memory, open_rabbit
from kasal_contracts.ids import new_id
from kasal_db import open_database
from kasal_executor.service import NAME
from kasal_executor.settings import ControlSettings
from kasal_executor.tables import Execution, IdempotencyKey, Worker
from kasal_runtime.hosting import serving
from kasal_testing.issuer import open_issuer
from kasal_testing.queues import own_queues
from pydantic import SecretStr
from sqlalchemy import delete

from .stage import Crews, Stage, open_control_plane

NewBus = Callable[[], AbstractAsyncContextManager[Bus]]
for_all_tests = pytest_asyncio.fixture(scope="session", loop_scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here share one control plane for each kind, and so its loop."""
    for item in items:
        if Path(__file__).parent in item.path.parents and "stage" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def prefixed_rabbit(request: pytest.FixtureRequest) -> Iterator[NewBus]:
    """Queues of our own for all tests. A quorum queue costs its broker files, so they are deleted at the end."""
    url = request.getfixturevalue("amqp_url")
    with own_queues(url) as prefix:
        yield partial(open_rabbit, url, prefix=prefix)


@for_all_tests
async def new_bus(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[NewBus]:
    """Opens what another process would see of the bus."""
    if kind == "distributed":
        yield request.getfixturevalue("prefixed_rabbit")
        return
    async with open_memory() as bus:
        yield lambda: nullcontext(bus)


@for_all_tests
async def plane(migrated_url: str, new_bus: NewBus) -> AsyncIterator[Stage]:
    """One control plane with the services around it, on sockets in a folder whose name is short enough."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kasal-")))
        crews = Crews()
        settings = settings_in(folder, migrated_url)
        issuer = await stack.enter_async_context(open_issuer(folder / "auth.sock"))
        await stack.enter_async_context(serving(crews.app(), uds=folder / "crews.sock"))
        bus = await stack.enter_async_context(new_bus())
        database = await stack.enter_async_context(open_database(migrated_url, NAME))
        client = await stack.enter_async_context(open_control_plane(settings, bus))
        yield Stage(settings, bus, database, issuer, crews, client)


def settings_in(folder: Path, database_url: str) -> ControlSettings:
    (folder / "bootstrap.key").write_text("not used here")
    return ControlSettings(
        database_url=SecretStr(database_url),
        secret_dir=folder,
        auth_url=f"unix:{folder}/auth.sock",
        crews_url=f"unix:{folder}/crews.sock",
        lease=timedelta(milliseconds=400),
        leader_lease=timedelta(seconds=2),
        republish=timedelta(seconds=1),
        tick=timedelta(milliseconds=100),
    )


@pytest_asyncio.fixture(loop_scope="session")
async def stage(plane: Stage) -> Stage:
    """The control plane with empty tables, and a group that nobody else is in."""
    async with plane.database.system() as session:
        for table in (Execution, IdempotencyKey, Worker):
            await session.execute(delete(table))
    plane.crews.forget()
    return replace(plane, group=new_id())
