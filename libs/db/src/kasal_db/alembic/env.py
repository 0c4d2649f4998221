"""Runs migrations on the connection that `kasal_db.migrations` hands over."""

from typing import Any

from alembic import context
from alembic.autogenerate.api import AutogenContext
from kasal_db.columns import UtcDateTime
from sqlalchemy import JSON


def render(kind: str, item: Any, imports: AutogenContext) -> str | bool:
    if kind == "type" and isinstance(item, UtcDateTime):
        imports.imports.add("from kasal_db.columns import UtcDateTime")
        return "UtcDateTime()"
    if kind == "type" and isinstance(item, JSON):
        imports.imports.add("from kasal_db.columns import Json")
        return "Json"
    return False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=context.config.attributes["metadata"],
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
    render_item=render,
)
with context.begin_transaction():
    context.run_migrations()
