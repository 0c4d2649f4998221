import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kasal_contracts.errors import InvalidError
from kasal_contracts.identity import Caller, Role
from kasal_db import Base, Database, Json, Owned, db_now, open_database, owned, page_of
from kasal_db.database import DatabaseUnavailableError
from kasal_db.migrations import is_current, migrate, revise
from sqlalchemy import MetaData, select
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.orm.exc import StaleDataError


class NoteTable(Base):
    __abstract__ = True
    metadata = MetaData()


class Note(Owned, NoteTable):
    __tablename__ = "notes"

    text: Mapped[str]
    extra: Mapped[dict[str, Any] | None] = mapped_column(Json)


def member(group: str) -> Caller:
    return Caller(user_id="user-1", group_id=group, role=Role.EDITOR)


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("versions")
    revise("notes", folder, NoteTable.metadata, "initial")
    return folder


@pytest.fixture
async def database(database_url: str, versions: Path) -> AsyncIterator[Database]:
    await migrate(database_url, "notes", versions, NoteTable.metadata)
    async with open_database(database_url, "notes") as opened:
        yield opened


ME = member("g1")


def note(text: str, group: str = "g1") -> Note:
    return Note(group_id=group, created_by="user-1", text=text, extra={"é": [1, None]})


async def saved(database: Database, row: Note) -> str:
    async with database.tenant(ME) as session:
        session.add(row)
        await session.flush()
        return row.id


async def test_a_row_comes_back_as_it_was_written(database: Database) -> None:
    key = await saved(database, note("hello"))
    async with database.tenant(ME, read_only=True) as session:
        found = (await session.scalars(owned(Note, ME).where(Note.id == key))).one()
    assert (found.text, found.extra, found.revision) == ("hello", {"é": [1, None]}, 1)
    assert abs(found.created_at - datetime.now(UTC)) < timedelta(seconds=5)


async def test_another_groups_row_is_not_found(database: Database) -> None:
    key = await saved(database, note("secret"))
    stranger = member("g2")
    async with database.tenant(stranger) as session:
        assert (await session.scalars(owned(Note, stranger).where(Note.id == key))).first() is None


async def test_an_error_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(RuntimeError):
        async with database.tenant(ME) as session:
            session.add(note("half"))
            await session.flush()
            raise RuntimeError
    async with database.tenant(ME) as session:
        assert (await session.scalars(owned(Note, ME))).all() == []


async def test_the_second_of_two_writers_of_one_revision_fails(database: Database) -> None:
    key = await saved(database, note("one"))
    async with database.tenant(ME, read_only=True) as session:
        mine = (await session.scalars(owned(Note, ME).where(Note.id == key))).one()
    async with database.tenant(ME) as session:
        (await session.scalars(owned(Note, ME).where(Note.id == key))).one().text = "theirs"
    mine.text = "mine"
    with pytest.raises(StaleDataError):
        async with database.tenant(ME) as session:
            session.add(mine)
    async with database.tenant(ME, read_only=True) as session:
        assert (await session.scalars(owned(Note, ME))).one().text == "theirs"


async def test_pages_hold_every_row_once_newest_first(database: Database) -> None:
    keys = [await saved(database, note(str(number))) for number in range(7)]
    seen: list[str] = []
    cursor = None
    while True:
        async with database.tenant(ME, read_only=True) as session:
            rows, cursor = await page_of(session, owned(Note, ME), Note, limit=3, cursor=cursor)
        seen += [row.id for row in rows]
        if cursor is None:
            break
    assert seen == sorted(keys, reverse=True)


@pytest.mark.parametrize("cursor", ["!!", "AA==", "é", "=" * 50])
async def test_a_made_up_cursor_is_refused(database: Database, cursor: str) -> None:
    async with database.tenant(ME, read_only=True) as session:
        with pytest.raises(InvalidError):
            await page_of(session, owned(Note, ME), Note, limit=3, cursor=cursor)


async def test_the_clock_is_the_databases_and_looks_ahead(database: Database) -> None:
    async with database.system(read_only=True) as session:
        now, later = (await session.execute(select(db_now(), db_now(timedelta(seconds=90))))).one()
    assert timedelta(seconds=89.9) < later - now < timedelta(seconds=90.1)
    assert now.tzinfo is UTC


async def test_many_writers_at_once_lose_nothing(database: Database) -> None:
    await asyncio.gather(*(saved(database, note(str(number))) for number in range(40)))
    async with database.tenant(ME, read_only=True) as session:
        assert len((await session.scalars(owned(Note, ME))).all()) == 40


async def test_migrating_twice_changes_nothing(database: Database, database_url: str, versions: Path) -> None:
    key = await saved(database, note("kept"))
    await asyncio.gather(*(migrate(database_url, "notes", versions, NoteTable.metadata) for _ in range(2)))
    assert await is_current(database_url, "notes", versions)
    async with database.tenant(ME, read_only=True) as session:
        assert (await session.scalars(owned(Note, ME))).one().id == key


async def test_a_database_that_is_away_is_told_as_such() -> None:
    async with open_database("postgresql://nobody@127.0.0.1:9/none", "notes") as away:
        with pytest.raises(DatabaseUnavailableError):
            await away.check()
