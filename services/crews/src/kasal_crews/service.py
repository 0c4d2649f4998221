"""The crews service as a recipe."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from kasal_db import open_database
from kasal_runtime.app import service_app
from kasal_runtime.service import Host, Service
from starlette.types import ASGIApp

from . import agents, config, crews, models, snapshots, tasks, tools, versions
from .catalogue import Catalogue
from .credentials import Credentials
from .providers import Addresses
from .requests import Resources
from .settings import CrewsSettings
from .tables import CrewsTable

NAME = "crews"


@asynccontextmanager
async def open_crews(settings: CrewsSettings, host: Host) -> AsyncGenerator[ASGIApp]:
    """Opens the database and yields the application."""
    async with open_database(settings.database_url.get_secret_value(), NAME) as database:
        resources = Resources(
            database=database,
            catalogue=Catalogue(database),
            credentials=Credentials(host.peer("auth")),
            addresses=Addresses(settings.openai_base_url, settings.databricks_host),
        )
        yield service_app(
            NAME,
            host,
            routers=[module.router for module in (versions, crews, agents, tasks, models, tools, config, snapshots)],
            checks={"database": database.check},
            body_limit=settings.body_limit,
            state={"resources": resources},
        )


SERVICE = Service(
    name=NAME,
    settings=CrewsSettings,
    open=open_crews,
    versions=Path(__file__).parent / "migrations",
    metadata=CrewsTable.metadata,
)
