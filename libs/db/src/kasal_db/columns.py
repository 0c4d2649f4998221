"""Column types and the database's clock, alike on SQLite and PostgreSQL."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import JSON, TIMESTAMP, Float, literal
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time: `timestamptz` on PostgreSQL, seconds since 1970 as REAL on SQLite."""

    impl = TIMESTAMP(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(Float())
        return dialect.type_descriptor(TIMESTAMP(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | float | None:
        if value is None or dialect.name != "sqlite":
            return value
        return value.timestamp()

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if dialect.name == "sqlite":
            return datetime.fromtimestamp(float(value), UTC)
        return cast("datetime", value).astimezone(UTC)


class db_now(FunctionElement[datetime]):  # noqa: N801
    """The database's clock now, plus `ahead`. The only clock that leases and due times are compared with."""

    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, ahead: timedelta = timedelta()) -> None:
        # As an argument it becomes a bound parameter, so that compiled statements are cached.
        super().__init__(*([literal(ahead.total_seconds(), Float())] if ahead else []))


@compiles(db_now, "postgresql")
def _postgresql_now(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    if not len(element.clauses):
        return "clock_timestamp()"
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kw)}))"


@compiles(db_now, "sqlite")
def _sqlite_now(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    # `unixepoch('subsec')` needs SQLite 3.42; Debian 12 has 3.40. Julian days keep about 40 µs.
    ahead = compiler.process(element.clauses, **kw) if len(element.clauses) else "0.0"
    return f"((julianday('now') - 2440587.5) * 86400.0 + {ahead})"
