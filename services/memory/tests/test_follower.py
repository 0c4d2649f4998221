"""Replicas and restarts: every index follows the one database, and may be lost at any time."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from kasal_contracts.ids import new_id
from kasal_db import open_database
from kasal_memory.embedder import find_model
from kasal_memory.follower import own_directory
from kasal_memory.tables import Clock, Record
from pydantic import SecretStr
from sqlalchemy import select, update

from .surroundings import Replica, World, make_tables, open_world

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def data(world: World) -> str:
    """A data directory of this test's own."""
    return f"data-{new_id()}"


async def found_by_a_new_process(world: World, data: str, group: str, query: str = "x") -> set[str]:
    async with world.replica(data) as replica:
        return set(await replace(replica, group=group).found(query, top_k=200))


async def test_replicas_see_each_others_saves_and_deletes(memory: Replica, data: str) -> None:
    async with memory.world.replica(data) as other:
        there = other.of(memory.group)
        record = await memory.save("saved here")
        assert await there.found("x") == ["saved here"]
        await there.save("saved there")
        assert set(await memory.found("x")) == {"saved here", "saved there"}
        await there.call("DELETE", f"/records/{record['id']}")
        assert await memory.found("x") == await there.found("x") == ["saved there"]
        await memory.call("POST", "/clear", {})
        assert await memory.found("x") == await there.found("x") == []


async def test_processes_that_share_a_data_directory_have_an_index_each(memory: Replica, tmp_path: Path) -> None:
    await memory.save("kept")
    async with memory.world.replica() as other:
        assert await other.of(memory.group).found("x") == ["kept"]
    with own_directory(tmp_path) as first:
        with own_directory(tmp_path) as second:
            assert (first, second) == (tmp_path / "0", tmp_path / "1")
        with own_directory(tmp_path) as again:
            assert again == second


async def test_a_restarted_process_knows_what_was_changed_meanwhile(memory: Replica, data: str) -> None:
    gone = await memory.save("deleted meanwhile")
    assert await found_by_a_new_process(memory.world, data, memory.group) == {"deleted meanwhile"}
    await memory.call("DELETE", f"/records/{gone['id']}")
    await memory.save("saved meanwhile")
    assert await found_by_a_new_process(memory.world, data, memory.group) == {"saved meanwhile"}


async def test_what_a_process_has_lost_is_built_again(memory: Replica, data: str) -> None:
    await memory.remember("i", "one", "two")
    assert await found_by_a_new_process(memory.world, data, memory.group) == {"one", "two"}
    index = memory.world.folder / data / "memory-index" / "0"
    losses: dict[str, Callable[[], object]] = {
        "everything": lambda: shutil.rmtree(index.parent),
        "the position": lambda: (index / "position.json").write_text("{"),
        "the vectors": lambda: [shutil.rmtree(table) for table in index.glob("*.lance")],
    }
    for lost, lose in losses.items():
        lose()
        assert await found_by_a_new_process(memory.world, data, memory.group) == {"one", "two"}, lost


async def test_more_records_than_a_batch_are_followed(memory: Replica, data: str) -> None:
    for start in range(0, 240, 80):
        await memory.remember("i", *(f"text {number}" for number in range(start, start + 80)))
    async with memory.world.replica(data) as other:
        assert len(await other.of(memory.group).found("text", top_k=200)) == 200
        assert len(await other.of(memory.group).recall("i", "text 239", top_k=50)) == 50


async def test_another_embedder_finds_what_the_first_one_saved(memory: Replica, data: str, tmp_path: Path) -> None:
    await memory.save("The cat sleeps on the sofa.")
    await memory.save("Interest rates rose again.")
    installed = find_model(None)
    assert installed is not None
    (tmp_path / "model.onnx").symlink_to(installed.model)
    (tmp_path / "tokenizer.json").write_bytes(installed.tokenizer.read_bytes() + b"\n")
    async with memory.world.replica(data, memory_embedder_dir=tmp_path) as other:
        there = other.of(memory.group)
        assert await there.found("a kitten naps", top_k=1) == ["The cat sleeps on the sofa."]
        await there.save("The plane to France is late.")
    assert await memory.found("a delayed flight", top_k=1) == ["The plane to France is late."]


@pytest.fixture
async def alone(database_url: str, short_folder: Path) -> AsyncIterator[World]:
    """A world with a database of its own, which has no tables yet."""
    folder = short_folder / new_id()
    folder.mkdir()
    async with open_world(folder, database_url) as world:
        yield world


@pytest.mark.asyncio(loop_scope="function")
async def test_the_service_starts_without_its_database_and_works_when_it_is_there(alone: World) -> None:
    async with alone.replica() as replica:
        assert (await replica.raw("GET", "/healthz", None)).status == 200
        await make_tables(alone.database_url)
        await replica.save("at last")
        assert await replica.found("x") == ["at last"]


@pytest.mark.asyncio(loop_scope="function")
async def test_an_index_of_another_database_or_of_its_future_is_built_again(alone: World) -> None:
    await make_tables(alone.database_url)
    async with alone.replica("one") as replica:
        for text in ("a", "b", "c"):
            await replica.save(text)
        assert len(await replica.found("x")) == 3
    async with open_database(alone.database_url, "memory") as database, database.system() as session:
        [first, second, third] = await session.scalars(select(Record).order_by(Record.change))
        await session.delete(third)
        first.change, second.change = 11, 12
        await session.execute(update(Clock).values(lineage="another", value=12))
    assert await found_by_a_new_process(alone, "one", replica.group) == {"a", "b"}
    async with open_database(alone.database_url, "memory") as database, database.system() as session:
        [first, second] = await session.scalars(select(Record).order_by(Record.change))
        first.change, second.change = 1, 2
        first.text = "put back"
        await session.execute(update(Clock).values(value=2))
    assert await found_by_a_new_process(alone, "one", replica.group) == {"put back", "b"}


@pytest.mark.asyncio(loop_scope="function")
async def test_without_a_database_requests_are_refused_as_unavailable(alone: World) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    async with alone.replica(database_url=SecretStr(nowhere)) as replica:
        ready = await replica.raw("GET", "/readyz", None)
        assert (ready.status, list(ready.body["checks"])) == (503, ["database"])
        refused = await asyncio.gather(
            replica.call("POST", "/records", {"kind": "entity", "text": "t"}),
            replica.call("POST", "/search", {"query": "q"}),
            replica.call("GET", "/records"),
            replica.internal("/search", {"identity": "i", "query": "q"}),
        )
        assert [answer.status for answer in refused] == [503] * 4
