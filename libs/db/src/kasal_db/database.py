"""One engine per service, and one transaction per request or message."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kasal_contracts.errors import UnavailableError
from kasal_contracts.identity import Caller
from sqlalchemy import event, text
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

POOL_SIZE = 10
READ_ONLY = "kasal_read_only"
PASSING = frozenset({"08", "40", "53", "57"})
"""Classes of SQLSTATE that pass by themselves: connection lost, deadlock, no resources, the operator intervened."""


class DatabaseUnavailableError(UnavailableError):
    def __init__(self) -> None:
        super().__init__("the database does not answer; nothing was changed")


class Database:
    """Sessions of one service. `tenant` is for requests, `system` for our own background work."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._write = async_sessionmaker(engine, expire_on_commit=False)
        self._read = async_sessionmaker(engine.execution_options(**{READ_ONLY: True}), expire_on_commit=False)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @asynccontextmanager
    async def tenant(self, me: Caller, *, read_only: bool = False) -> AsyncGenerator[AsyncSession]:
        """One transaction in the name of `me`, committed at the end and rolled back by any error.

        Raises DatabaseUnavailableError when the connection is lost.
        """
        del me
        async with self._transaction(read_only=read_only) as session:
            yield session

    @asynccontextmanager
    async def system(self, *, read_only: bool = False) -> AsyncGenerator[AsyncSession]:
        """One transaction across groups. For the dispatcher, the reaper, the recorder, the worker and logins."""
        async with self._transaction(read_only=read_only) as session:
            yield session

    async def check(self) -> None:
        """Raises DatabaseUnavailableError while the database does not answer."""
        async with self._transaction(read_only=True) as session:
            await session.execute(text("select 1"))

    @asynccontextmanager
    async def _transaction(self, *, read_only: bool) -> AsyncGenerator[AsyncSession]:
        sessions = self._read if read_only else self._write
        try:
            async with sessions() as session, session.begin():
                yield session
        except (OperationalError, PoolTimeoutError, ConnectionError, TimeoutError) as error:
            raise DatabaseUnavailableError from error
        except DBAPIError as error:
            sqlstate = str(getattr(error.orig, "sqlstate", None) or "")
            if error.connection_invalidated or sqlstate[:2] in PASSING:
                raise DatabaseUnavailableError from error
            raise


@asynccontextmanager
async def open_database(url: str, schema: str, *, pool_size: int = POOL_SIZE) -> AsyncGenerator[Database]:
    """The database of one service.

    `url` is `postgresql://…` (the service's tables live in `schema`) or `sqlite:///DIR` (in `DIR/<schema>.db`).
    """
    engine = create_engine(url, schema, pool_size=pool_size)
    try:
        yield Database(engine)
    finally:
        await engine.dispose()


def create_engine(url: str, schema: str, *, pool_size: int = POOL_SIZE) -> AsyncEngine:
    """An engine that is not connected yet; the caller disposes of it."""
    if url.startswith("sqlite:///"):
        return _sqlite_engine(Path(url.removeprefix("sqlite:///")), schema, pool_size)
    return create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://", 1),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=False,
        pool_recycle=1800,
        pool_timeout=10,
        hide_parameters=True,
        json_serializer=_compact_json,
        connect_args={
            "timeout": 5,
            "command_timeout": 30,
            "server_settings": {"search_path": schema, "application_name": f"kasal-{schema}", "jit": "off"},
        },
    )


def _compact_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _sqlite_engine(folder: Path, schema: str, pool_size: int) -> AsyncEngine:
    folder.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{folder / schema}.db",
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,
        json_serializer=_compact_json,
        connect_args={"timeout": 15, "isolation_level": None},
    )
    event.listen(engine.sync_engine, "connect", _tune_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _tune_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=15000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that turns to writing may fail at once with SQLITE_BUSY; an immediate one waits its turn.
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
