"""The one Alembic environment: every service's migrations run through here."""

import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy import create_engine as create_sync_engine

from .database import create_engine

ENVIRONMENT = Path(__file__).parent / "alembic"
LOCK_ID = 0x4B41_5341  # "KASA": replicas that start together migrate one after another


async def migrate(url: str, schema: str, versions: Path, metadata: MetaData) -> None:
    """Bring the tables of `schema` to the newest revision in `versions`."""
    engine = create_engine(url, schema, pool_size=1)
    try:
        async with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                await connection.execute(text(f"select pg_advisory_xact_lock({LOCK_ID})"))
                await connection.execute(text(f'create schema if not exists "{schema}"'))
            await connection.run_sync(_upgrade, config_for(schema, versions), metadata)
    finally:
        await engine.dispose()


def config_for(schema: str, versions: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(ENVIRONMENT))
    config.set_main_option("version_locations", str(versions))
    config.set_main_option("path_separator", "os")
    config.attributes["schema"] = schema
    return config


def _upgrade(connection: Connection, config: Config, metadata: MetaData) -> None:
    config.attributes["connection"] = connection
    config.attributes["metadata"] = metadata
    command.upgrade(config, "head")


async def is_current(url: str, schema: str, versions: Path) -> bool:
    """Whether the tables of `schema` are at the newest revision."""
    engine = create_engine(url, schema, pool_size=1)
    head = ScriptDirectory.from_config(config_for(schema, versions)).get_current_head()
    try:
        async with engine.connect() as connection:
            return bool(await connection.run_sync(_revision) == head)
    finally:
        await engine.dispose()


def _revision(connection: Connection) -> str | None:
    revision: str | None = MigrationContext.configure(connection).get_current_revision()
    return revision


def revise(schema: str, versions: Path, metadata: MetaData, message: str) -> None:
    """Write the migration from the newest revision to `metadata`, for a person to read and mend."""
    with tempfile.TemporaryDirectory() as folder:
        engine = create_sync_engine(f"sqlite:///{folder}/{schema}.db")
        with engine.begin() as connection:
            config = config_for(schema, versions)
            _upgrade(connection, config, metadata)
            taken = len(list(versions.glob("[0-9]*.py")))
            command.revision(config, message, autogenerate=True, rev_id=f"{taken + 1:04}", version_path=str(versions))
        engine.dispose()
