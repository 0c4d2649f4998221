"""The vector index, on real LanceDB tables in a temporary directory."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from kasal_memory.index import IndexRow, VectorIndex, open_index

DIM = 8
HOSTILE = [
    "' OR '1'='1",
    "x' OR group_id <> '",
    "b'; DROP TABLE records; --",
    'a" OR "a"="a',
    "\\' OR 1=1 --",
    "a`b",
    "%",
    "_",
    "NULL",
    "{}",
    "a\nb",
    "á🙂",
    "''",
    "a\0b",
]


def pointing(axis: int) -> list[float]:
    return [1.0 if at == axis else 0.0 for at in range(DIM)]


def row(key: str, *, axis: int = 0, group: str = "g", identity: str | None = None, **more: str) -> IndexRow:
    return IndexRow(key, group, identity, more.get("kind", "short_term"), more.get("session"), pointing(axis))


async def found(index: VectorIndex, **filters: object) -> list[str]:
    hits = await index.search(pointing(0), top_k=100, **({"group_id": "g"} | filters))  # type: ignore[arg-type]
    return sorted(hit.id for hit in hits)


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[VectorIndex]:
    async with open_index(tmp_path, embedder_id="test", dim=DIM) as opened:
        yield opened


async def test_the_nearest_row_comes_first_with_its_cosine(index: VectorIndex) -> None:
    between = IndexRow("between", "g", None, "short_term", None, [1.0, 1.0, *[0.0] * (DIM - 2)])
    await index.upsert([row("far", axis=1), between, row("same")])
    hits = await index.search([2.0, *[0.0] * (DIM - 1)], group_id="g", top_k=2)
    assert [hit.id for hit in hits] == ["same", "between"]
    assert [hit.score for hit in hits] == pytest.approx([1.0, 0.5**0.5], abs=1e-4)
    assert [hit.id for hit in await index.search(pointing(0), group_id="g", min_score=0.9)] == ["same"]


async def test_an_empty_index_finds_nothing(index: VectorIndex) -> None:
    assert await index.search(pointing(0), group_id="g") == []


@pytest.mark.parametrize("group", HOSTILE)
async def test_a_hostile_group_id_finds_its_own_rows_and_no_others(index: VectorIndex, group: str) -> None:
    await index.upsert([row("theirs"), row("ours", group=group), row("third", group=group + "x")])
    assert await found(index, group_id=group) == ["ours"]
    assert await found(index, group_id="g") == ["theirs"]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_in_any_other_filter_finds_only_its_equal(index: VectorIndex, text: str) -> None:
    await index.upsert([row("plain"), IndexRow(text, "g", text, text, text, pointing(0))])
    for filters in ({"identities": [text]}, {"kinds": [text]}, {"session_id": text}):
        assert await found(index, **filters) == [text]
    await index.delete([text])
    assert await found(index) == ["plain"]


async def test_identities_name_what_may_be_found(index: VectorIndex) -> None:
    await index.upsert([row("shared"), row("one", identity="i1"), row("two", identity="i2")])
    assert await found(index, identities=["i1"]) == ["one"]
    assert await found(index, identities=["i1", None]) == ["one", "shared"]
    assert await found(index, identities=[None]) == ["shared"]
    assert await found(index, identities=[]) == []
    assert await found(index) == ["one", "shared", "two"]


async def test_kinds_and_session_narrow_a_search(index: VectorIndex) -> None:
    await index.upsert([row("a", kind="entity", session="s"), row("b", kind="long_term"), row("c", session="s")])
    assert await found(index, kinds=["entity", "long_term"]) == ["a", "b"]
    assert await found(index, kinds=[]) == []
    assert await found(index, session_id="s") == ["a", "c"]
    assert await found(index, session_id="s", kinds=["entity"]) == ["a"]


async def test_the_filter_comes_before_the_search(index: VectorIndex) -> None:
    await index.upsert([row(f"near-{number}", group="other") for number in range(50)] + [row("mine", axis=1)])
    hits = await index.search(pointing(0), group_id="g", top_k=1)
    assert [hit.id for hit in hits] == ["mine"]


async def test_a_second_upsert_replaces_a_row(index: VectorIndex) -> None:
    await index.upsert([row("a", kind="entity"), row("b")])
    await index.upsert([row("a", axis=3, kind="long_term")])
    assert await index.count() == 2
    assert await found(index, kinds=["long_term"]) == ["a"]
    assert await found(index, kinds=["entity"]) == []


async def test_a_vector_of_another_dimension_is_refused_and_nothing_is_written(index: VectorIndex) -> None:
    with pytest.raises(ValueError, match="8 numbers"):
        await index.upsert([row("a"), IndexRow("b", "g", None, "entity", None, [1.0])])
    assert await index.count() == 0


async def test_rows_outlive_the_index_object_and_stay_with_their_embedder(tmp_path: Path) -> None:
    async with open_index(tmp_path, embedder_id="one", dim=DIM) as index:
        await index.upsert([row("kept")])
    async with (
        open_index(tmp_path, embedder_id="two", dim=DIM) as other,
        open_index(tmp_path, embedder_id="one", dim=DIM * 2) as wider,
    ):
        assert (await other.count(), await wider.count()) == (0, 0)
    async with open_index(tmp_path, embedder_id="one", dim=DIM) as again:
        assert await found(again) == ["kept"]


async def test_the_index_is_built_anew_after_a_reset(index: VectorIndex) -> None:
    await index.upsert([row("stale"), row("kept")])
    await index.reset()
    assert await index.count() == 0
    await index.upsert([row("kept")])
    assert await found(index) == ["kept"]


async def test_many_small_writes_are_compacted_and_nothing_is_lost(index: VectorIndex, tmp_path: Path) -> None:
    for number in range(120):
        await index.upsert([row(f"r{number}")])
    await index.delete([f"r{number}" for number in range(0, 120, 2)])
    assert await found(index) == sorted(f"r{number}" for number in range(1, 120, 2))
    assert (await index.upsert([]), await index.delete([]), await index.delete(["unknown"])) == (None, None, None)


async def test_a_search_among_two_thousand_vectors_agrees_with_a_full_comparison(tmp_path: Path) -> None:
    numbers = np.random.default_rng(7).normal(size=(2_000, 384)).astype(np.float32)
    unit = numbers / np.linalg.norm(numbers, axis=1, keepdims=True)
    rows = [
        IndexRow(f"r{at}", f"g{at % 4}", None, "short_term", None, vector) for at, vector in enumerate(unit.tolist())
    ]
    async with open_index(tmp_path, embedder_id="test", dim=384) as index:
        for start in range(0, 2_000, 500):
            await index.upsert(rows[start : start + 500])
        answers = [await index.search(rows[at].vector, group_id=f"g{at % 4}", top_k=2) for at in range(20)]
    for at, hits in enumerate(answers):
        same_group = range(at % 4, 2_000, 4)
        by_cosine = sorted(same_group, key=lambda other: -float(unit[at] @ unit[other]))
        assert [hit.id for hit in hits] == [f"r{at}", f"r{by_cosine[1]}"]
