"""The vector index over memory records, on LanceDB.

The SQL database is the truth; the index is derived from it. It may be deleted and filled again at any time.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.expr import Expr, col, lit
from lancedb.index import Bitmap

# What a column holds for a record without an identity or a session. Neither is ever an empty text.
_NONE = ""
# Each write adds a version and a small file. This many are merged into one, and what they replaced is removed.
_WRITES_UNTIL_COMPACTION = 50
_KEEP_VERSIONS = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class IndexRow:
    """What the index knows of a record: where it belongs, and its vector. `id` is the record's."""

    id: str
    group_id: str
    identity: str | None
    kind: str
    session_id: str | None
    vector: Sequence[float]


class Hit(NamedTuple):
    """`score` is the cosine similarity, from -1 to 1."""

    id: str
    score: float


class VectorIndex:
    """Made by `open_index`. Exact search: every vector that the filter leaves is compared."""

    def __init__(self, database: lancedb.AsyncConnection, table: lancedb.AsyncTable, schema: pa.Schema) -> None:
        self._database = database
        self._table = table
        self._schema = schema
        self._writing = asyncio.Lock()
        self._writes = 0

    async def upsert(self, rows: Sequence[IndexRow]) -> None:
        """Add rows, or replace those with the same ids. Raises ValueError where a vector has another dimension."""
        if not rows:
            return
        data = _columns(rows, self._schema)
        async with self._writing:
            await self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(data)
            await self._compact_in_time()

    async def delete(self, ids: Sequence[str]) -> None:
        """Unknown ids are no error."""
        if not ids:
            return
        async with self._writing:
            await self._table.delete(_one_of("id", ids))
            await self._compact_in_time()

    async def search(
        self,
        vector: Sequence[float],
        *,
        group_id: str,
        identities: Sequence[str | None] | None = None,
        kinds: Sequence[str] | None = None,
        session_id: str | None = None,
        top_k: int = 5,
        min_score: float | None = None,
    ) -> list[Hit]:
        """The nearest rows of one group, best first.

        `identities` and `kinds` name what may be found; `None` is any, an empty list is nothing. In `identities` a
        `None` stands for rows without an identity. Rows are filtered before their vectors are compared.
        """
        if identities == [] or kinds == []:
            return []
        wanted = col("group_id") == lit(group_id)
        if identities is not None:
            wanted &= _one_of("identity", [identity or _NONE for identity in identities])
        if kinds is not None:
            wanted &= _one_of("kind", kinds)
        if session_id is not None:
            wanted &= col("session_id") == lit(session_id)
        nearest = self._table.query().nearest_to(list(vector)).distance_type("cosine").where(wanted)
        found = await nearest.select(["id", "_distance"]).limit(top_k).to_list()
        hits = [Hit(row["id"], 1.0 - row["_distance"]) for row in found]
        return [hit for hit in hits if min_score is None or hit.score >= min_score]

    async def count(self) -> int:
        return int(await self._table.count_rows())

    async def reset(self) -> None:
        """Forget every row, before the index is filled again from the database."""
        async with self._writing:
            emptied = await self._database.create_table(self._table.name, schema=self._schema, mode="overwrite")
            self._table = await _indexed(emptied)
            self._writes = 0

    async def _compact_in_time(self) -> None:
        self._writes += 1
        if self._writes >= _WRITES_UNTIL_COMPACTION:
            self._writes = 0
            await self._table.optimize(cleanup_older_than=_KEEP_VERSIONS)


@asynccontextmanager
async def open_index(directory: Path, *, embedder_id: str, dim: int) -> AsyncGenerator[VectorIndex]:
    """The index of one embedder under `directory`; each has a table of its own, so that vectors never mix."""
    schema = pa.schema(
        [
            *(pa.field(name, pa.string(), nullable=False) for name in ("id", "group_id", "identity", "kind")),
            pa.field("session_id", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
        ]
    )
    with await lancedb.connect_async(directory) as database:
        table = await database.create_table(_table_name(embedder_id, dim), schema=schema, exist_ok=True)
        yield VectorIndex(database, await _indexed(table), schema)


async def _indexed(table: lancedb.AsyncTable) -> lancedb.AsyncTable:
    """Every search names one group, and compaction keeps the index up to date."""
    if not await table.list_indices():
        await table.create_index("group_id", config=Bitmap())
    return table


def _table_name(embedder_id: str, dim: int) -> str:
    readable = re.sub(r"[^a-z0-9]+", "_", embedder_id.lower())[:40]
    return f"records_{readable}_{hashlib.sha256(embedder_id.encode()).hexdigest()[:8]}_{dim}"


def _one_of(column: str, values: Sequence[str]) -> Expr:
    return col(column).isin(lit(value) for value in values)


def _columns(rows: Sequence[IndexRow], schema: pa.Schema) -> pa.Table:
    dim = schema.field("vector").type.list_size
    if any(len(row.vector) != dim for row in rows):
        raise ValueError(f"a vector of this index has {dim} numbers")
    numbers = np.array([row.vector for row in rows], dtype=np.float32).ravel()
    return pa.table(
        [
            pa.array([row.id for row in rows]),
            pa.array([row.group_id for row in rows]),
            pa.array([row.identity or _NONE for row in rows]),
            pa.array([row.kind for row in rows]),
            pa.array([row.session_id or _NONE for row in rows]),
            pa.FixedSizeListArray.from_arrays(pa.array(numbers), dim),
        ],
        schema=schema,
    )
