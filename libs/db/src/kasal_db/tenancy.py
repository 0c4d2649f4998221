"""Rows that belong to a group, and the one door to them."""

from datetime import datetime
from typing import Any, ClassVar, TypeVar

from kasal_contracts.identity import Caller
from kasal_contracts.ids import new_id
from sqlalchemy import Select, String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

from .columns import UtcDateTime, db_now


class Base(DeclarativeBase):
    """The common root; each service declares its own subclass with its own metadata."""

    __abstract__ = True
    type_annotation_map: ClassVar = {datetime: UtcDateTime, str: String}


class Owned:
    """What every row of a group carries. `revision` grows with each change and is the resource's ETag."""

    id: Mapped[str] = mapped_column(String(64), primary_key=True, default=new_id)
    group_id: Mapped[str] = mapped_column(String(64), index=True)
    created_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=db_now())
    updated_at: Mapped[datetime] = mapped_column(default=db_now(), onupdate=db_now())
    revision: Mapped[int] = mapped_column()

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805
        """Two writers of one revision: the second fails with StaleDataError."""
        return {"version_id_col": cls.revision}


OwnedRow = TypeVar("OwnedRow", bound=Owned)


def owned(table: type[OwnedRow], me: Caller) -> Select[OwnedRow]:
    """Rows of `table` that `me` may see. The only place that compares `group_id`."""
    return select(table).where(table.group_id == me.group_id)
