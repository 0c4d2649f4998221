"""Tables of the memory service. They are the truth; the vector index follows them."""

from typing import Any

import numpy as np
from kasal_contracts.memory import MemoryKind
from kasal_db import Base, Json, Owned
from sqlalchemy import BigInteger, Enum, Index, LargeBinary, MetaData, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

_NUMBER = np.dtype("<f4")


class MemoryTable(Base):
    __abstract__ = True
    metadata = MetaData()


class Record(Owned, MemoryTable):
    """One remembered text, with its vector as little-endian float32.

    `crew_id` is the saved crew that it belongs to, `identity` the crew identity of the execution that remembered it;
    a record with neither is shared in its group. `digest` names what may be kept once only: see `records.Draft`.
    `change` is the clock's number of the record's last change.
    """

    __tablename__ = "memory_records"
    __table_args__ = (
        UniqueConstraint("group_id", "digest", name="uq_memory_records_digest"),
        UniqueConstraint("change", name="uq_memory_records_change"),
        Index("ix_memory_records_crew", "group_id", "crew_id", "identity"),
    )

    crew_id: Mapped[str | None] = mapped_column(String(64))
    identity: Mapped[str | None] = mapped_column(String(128))
    kind: Mapped[MemoryKind] = mapped_column(
        Enum(MemoryKind, native_enum=False, length=16, values_callable=list, create_constraint=False)
    )
    agent: Mapped[str | None] = mapped_column(String(200))
    session_id: Mapped[str | None] = mapped_column(String(200))
    text: Mapped[str] = mapped_column(Text)
    entity: Mapped[str | None] = mapped_column(String(200))
    details: Mapped[dict[str, Any]] = mapped_column("metadata", Json)
    digest: Mapped[str] = mapped_column(String(64))
    embedder_id: Mapped[str] = mapped_column(String(100))
    vector: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    change: Mapped[int] = mapped_column(BigInteger)

    @property
    def scope(self) -> str | None:
        return scope_of(self.identity, self.crew_id)


class Clock(MemoryTable):
    """One row, made by the first migration. `value` counts the changes of records.

    `lineage` names this database, so that an index of another one is recognised.
    """

    __tablename__ = "memory_clock"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    lineage: Mapped[str] = mapped_column(String(64))
    value: Mapped[int] = mapped_column(BigInteger)


def scope_of(identity: str | None, crew_id: str | None) -> str | None:
    """Where a record is found, as the index knows it: in a crew identity, a saved crew, or the whole group."""
    if identity is not None:
        return identity
    return None if crew_id is None else f"crew:{crew_id}"


def packed(vector: list[float]) -> bytes:
    return np.asarray(vector, dtype=_NUMBER).tobytes()


def unpacked(vector: bytes) -> list[float]:
    numbers: list[float] = np.frombuffer(vector, dtype=_NUMBER).tolist()
    return numbers
