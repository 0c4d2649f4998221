"""The memory service as a recipe: what it opens, and in which order it closes."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from kasal_db import open_database
from kasal_runtime.app import service_app
from kasal_runtime.service import Host, Service
from starlette.types import ASGIApp

from . import internal, records, searches
from .embedder import open_embedder
from .follower import Follower, own_directory
from .index import open_index
from .memory import Memory
from .settings import MemorySettings
from .tables import MemoryTable

NAME = "memory"


@asynccontextmanager
async def open_service(settings: MemorySettings, host: Host) -> AsyncGenerator[ASGIApp]:
    """Starts without its database, and answers 503 until it is there. Raises ModelMissingError."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings.database_url.get_secret_value(), NAME))
        embedder = await stack.enter_async_context(open_embedder(model_dir=settings.memory_embedder_dir))
        directory = stack.enter_context(own_directory(settings.index_dir))
        index = await stack.enter_async_context(open_index(directory, embedder_id=embedder.id, dim=embedder.dim))
        follower = Follower(database, embedder, index, directory / "position.json")
        await stack.enter_async_context(follower.following())
        yield service_app(
            NAME,
            host,
            routers=[records.router, searches.router, internal.router],
            checks={"database": database.check},
            body_limit=settings.body_limit,
            state={"memory": Memory(database, embedder, index, follower, host.peer("crews"))},
        )


SERVICE = Service(
    name=NAME,
    settings=MemorySettings,
    open=open_service,
    versions=Path(__file__).parent / "migrations",
    metadata=MemoryTable.metadata,
)
