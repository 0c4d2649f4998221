"""Keeps this process's vector index in step with the database, whichever replica wrote there."""

import asyncio
import fcntl
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path

import structlog
from kasal_contracts.errors import UnavailableError
from kasal_contracts.wire import Frozen
from kasal_db import Database
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import undefer

from .embedder import Embedder
from .index import IndexRow, VectorIndex
from .tables import Clock, Record, unpacked

log = structlog.get_logger(__name__)

_BATCH = 200


class Position(Frozen):
    """How far an index has followed: up to which change, of which database, for which embedder."""

    lineage: str
    embedder_id: str
    change: int

    def leads_to(self, clock: Clock, embedder_id: str) -> bool:
        """Whether the index can go on from here. A number above the clock's comes from a database put back in time."""
        return (self.lineage, self.embedder_id) == (clock.lineage, embedder_id) and self.change <= clock.value

    def is_level(self, clock: Clock) -> bool:
        return (self.lineage, self.change) == (clock.lineage, clock.value)


class Follower:
    """Reads changed records in the order of their numbers. Records that were deleted stay for searches to drop.

    The position is kept in a file beside the index. It may lag, for to follow a change twice does no harm.
    """

    def __init__(self, database: Database, embedder: Embedder, index: VectorIndex, position_file: Path) -> None:
        self._database = database
        self._embedder = embedder
        self._index = index
        self._file = position_file
        self._position: Position | None = None
        self._following = asyncio.Lock()
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """Something was saved here: follow it soon, so that the next search need not wait."""
        self._nudged.set()

    async def catch_up(self) -> None:
        """Until the index knows all that was committed before the call. Raises DatabaseUnavailableError."""
        if self._position is not None and self._position.is_level(await self._read_clock()):
            return
        async with self._following:
            clock = await self._read_clock()
            position = self._position or await self._restored()
            if position is None or not position.leads_to(clock, self._embedder.id):
                position = await self._start_over(clock)
            while position.change < clock.value:
                position = await self._follow(position, clock.value)
            self._position = position

    @asynccontextmanager
    async def following(self) -> AsyncGenerator[None]:
        """Loads the embedder's model and catches up at once, then after every nudge, in the background."""
        task = asyncio.create_task(self._keep_up(), name="index-follower")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _keep_up(self) -> None:
        await self._embedder.embed(["warm up"])
        while True:
            try:
                await self.catch_up()
            except (UnavailableError, SQLAlchemyError) as error:
                # The next search catches up itself, and tells its caller what is wrong.
                log.warning("index_behind", reason=type(error).__name__)
            await self._nudged.wait()
            self._nudged.clear()

    async def _read_clock(self) -> Clock:
        async with self._database.system(read_only=True) as session:
            return (await session.scalars(select(Clock))).one()

    async def _start_over(self, clock: Clock) -> Position:
        await self._index.reset()
        start = Position(lineage=clock.lineage, embedder_id=self._embedder.id, change=0)
        # The old position must be gone before the index has rows again, or a crash would leave a gap between the two.
        await asyncio.to_thread(self._remember, start)
        return start

    async def _follow(self, position: Position, newest: int) -> Position:
        """One batch of changes after `position`. Up to `newest`, all are committed."""
        changed = select(Record).where(Record.change > position.change).order_by(Record.change).limit(_BATCH)
        async with self._database.system(read_only=True) as session:
            records = list(await session.scalars(changed.options(undefer(Record.vector))))
        await self._index.upsert(await self._rows(records))
        last = records[-1].change if records else newest
        reached = position.model_copy(update={"change": last if len(records) == _BATCH else max(last, newest)})
        await asyncio.to_thread(self._remember, reached)
        return reached

    async def _rows(self, records: Sequence[Record]) -> list[IndexRow]:
        """What other embedders made is embedded again; the database keeps their vectors."""
        foreign = [record for record in records if record.embedder_id != self._embedder.id]
        vectors = {record.id: unpacked(record.vector) for record in records}
        embedded = await self._embedder.embed([record.text for record in foreign])
        vectors.update((record.id, vector) for record, vector in zip(foreign, embedded, strict=True))
        return [IndexRow(r.id, r.group_id, r.scope, r.kind.value, r.session_id, vectors[r.id]) for r in records]

    def _remember(self, position: Position) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(position.model_dump_json())
        fresh.replace(self._file)

    async def _restored(self) -> Position | None:
        """None where there is no usable file, and beside an empty index, which may have been deleted alone."""
        if not await self._index.count():
            return None
        try:
            return Position.model_validate_json(await asyncio.to_thread(self._file.read_text))
        except (FileNotFoundError, ValidationError):
            return None


@contextmanager
def own_directory(parent: Path) -> Generator[Path]:
    """The first of `0`, `1`, … in `parent` that no other process holds, for as long as the context is open."""
    for number in count():
        directory = parent / str(number)
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield directory
            return
