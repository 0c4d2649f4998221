"""Search by meaning, through the front door, with the real embedder."""

import asyncio

import pytest
from kasal_contracts.ids import new_id

from .surroundings import Replica

pytestmark = pytest.mark.asyncio(loop_scope="session")

CAT, RATES, FLIGHT = "The cat sleeps on the sofa.", "Interest rates rose again.", "The flight to Paris is delayed."


async def test_the_text_that_means_the_same_comes_first(memory: Replica) -> None:
    for text in (CAT, RATES, FLIGHT):
        await memory.save(text)
    assert (await memory.found("A kitten naps on the couch."))[0] == CAT
    assert (await memory.found("The central bank made loans more expensive."))[0] == RATES
    assert (await memory.found("The plane to France will leave late.", top_k=1)) == [FLIGHT]


async def test_matches_carry_their_cosine_best_first_and_above_the_least_score(memory: Replica) -> None:
    saved = await memory.save(CAT)
    await memory.save(RATES)
    answer = await memory.call("POST", "/search", {"query": CAT})
    scores = [item["score"] for item in answer.body["items"]]
    assert answer.body["items"][0]["record"] == saved
    assert scores[0] == pytest.approx(1, abs=1e-3)
    assert scores[0] > scores[1] >= -1
    assert await memory.found(CAT, min_score=0.5) == [CAT]
    assert await memory.found("Quarks have colour.", min_score=0.9) == []


async def test_kinds_and_sessions_narrow_a_search(memory: Replica) -> None:
    await memory.save("short")
    await memory.save("long", kind="long_term", session_id="s1")
    await memory.save("entity", kind="entity", session_id="s1")
    assert set(await memory.found("x")) == {"short", "long", "entity"}
    assert set(await memory.found("x", kinds=["long_term", "entity"])) == {"long", "entity"}
    assert await memory.found("x", kinds=["document"]) == []
    assert set(await memory.found("x", session_id="s1")) == {"long", "entity"}
    assert await memory.found("x", session_id="s1", kinds=["entity"]) == ["entity"]


async def test_a_crew_finds_its_own_and_what_is_shared_but_not_another_crews(memory: Replica) -> None:
    one, other = memory.make_crew(), memory.make_crew()
    await memory.save("shared")
    await memory.save("of one", crew_id=one)
    await memory.save("of other", crew_id=other)
    assert set(await memory.found("x", crew_id=one)) == {"shared", "of one"}
    assert set(await memory.found("x", crew_id=other)) == {"shared", "of other"}
    assert await memory.found("x", crew_id="unknown") == await memory.found("x") == ["shared"]


async def test_what_executions_of_a_crew_remembered_is_found_by_its_id(memory: Replica) -> None:
    one, twin = memory.make_crew(), memory.make_crew()
    await memory.remember("i1", "before the edit", crew_id=one)
    await memory.remember("i2", "after the edit", crew_id=one)
    await memory.remember("i2", "of a twin with the same identity", crew_id=twin)
    await memory.remember("i3", "of a crew that was not saved")
    assert set(await memory.found("x", crew_id=one)) == {"before the edit", "after the edit"}
    assert await memory.found("x", crew_id=twin) == ["of a twin with the same identity"]
    assert await memory.found("x") == ["of a crew that was not saved"]


async def test_filters_are_equalities_on_metadata(memory: Replica) -> None:
    await memory.save("one", metadata={"year": 1, "by": "Ann"})
    await memory.save("true", metadata={"year": True})
    await memory.save("text", metadata={"year": "1"})
    await memory.save("null", metadata={"year": None})
    await memory.save("none")
    assert await memory.found("x", filters={"year": 1}) == ["one"]
    assert await memory.found("x", filters={"year": True}) == ["true"]
    assert await memory.found("x", filters={"year": "1"}) == ["text"]
    assert await memory.found("x", filters={"year": None}) == ["null"]
    assert await memory.found("x", filters={"year": 1, "by": "Bob"}) == []


async def test_a_search_goes_on_past_what_was_deleted_and_what_a_filter_leaves_out(memory: Replica) -> None:
    await memory.remember("i", *(f"The cat number {number} sleeps." for number in range(30)), session_id="gone")
    for number in range(10):
        await memory.save(f"Cat {number} sleeps.", metadata={"a": 1})
    await memory.save(RATES, metadata={"wanted": True})
    assert len(await memory.found("sleeping cats", top_k=200)) == 41
    await memory.call("POST", "/clear", {"session_id": "gone"})
    assert set(await memory.found("sleeping cats", top_k=2, min_score=0.2)) < {f"Cat {n} sleeps." for n in range(10)}
    assert await memory.found("sleeping cats", top_k=1, filters={"wanted": True}) == [RATES]
    assert len(await memory.found("sleeping cats", top_k=200)) == 11


async def test_whatever_was_saved_is_found_by_searches_that_ran_meanwhile(memory: Replica) -> None:
    async def save_and_find(number: int) -> list[str]:
        await memory.save(f"note {number}")
        return await memory.found(f"note {number}", top_k=200)

    found = await asyncio.gather(*(save_and_find(number) for number in range(25)))
    assert all(f"note {number}" in texts for number, texts in enumerate(found))
    assert len(await memory.found("note", top_k=200)) == 25


async def test_an_empty_memory_finds_nothing(memory: Replica) -> None:
    await memory.of(new_id()).save("theirs")
    assert await memory.found("theirs") == []
