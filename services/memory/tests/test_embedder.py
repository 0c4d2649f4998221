"""Embedders: the model that is installed, and the hashing that stands in for it."""

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kasal_memory import embedder as module
from kasal_memory.embedder import Embedder, HashingEmbedder, MiniLmEmbedder, ModelMissingError, open_embedder
from structlog.testing import capture_logs

TRIPLES = [
    ("The cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose again."),
    ("How do I reset my password?", "I forgot my login credentials.", "The soup needs more salt."),
    ("Revenue grew in the third quarter.", "Sales increased between July and September.", "Dogs love long walks."),
    ("The server crashed last night.", "The machine went down in the evening.", "She paints with watercolours."),
    ("He plays the violin.", "He is a musician in an orchestra.", "The invoice is overdue."),
    ("The flight to Paris is delayed.", "The plane to France will leave late.", "Add the eggs to the flour."),
    ("Our customers prefer short emails.", "Clients like brief messages.", "The volcano erupted."),
    ("The doctor prescribed antibiotics.", "The physician gave her medicine.", "Trains run every ten minutes."),
    ("Write tests before the code.", "Test-driven development comes first.", "The roses bloom in June."),
    ("The contract ends in December.", "The agreement expires at the end of the year.", "Penguins cannot fly."),
]


@pytest.fixture(params=["minilm", "hashing"])
async def embedder(request: pytest.FixtureRequest) -> AsyncIterator[Embedder]:
    if request.param == "hashing":
        yield HashingEmbedder()
        return
    async with open_embedder() as opened:
        assert isinstance(opened, MiniLmEmbedder)
        yield opened


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_vectors_have_the_dimension_and_unit_length_in_the_order_of_the_texts(embedder: Embedder) -> None:
    texts = ["alpha", "", "alpha", "x" * 50_000, "Grüße, 世界 🙂"]
    vectors = await embedder.embed(texts)
    assert [len(vector) for vector in vectors] == [embedder.dim] * 5
    assert all(math.isclose(cosine(vector, vector), 1, abs_tol=1e-4) for vector in vectors)
    assert cosine(vectors[0], vectors[2]) > 0.999
    assert await embedder.embed([]) == []


async def test_a_text_has_the_same_vector_alone_and_among_others(embedder: Embedder) -> None:
    texts = [f"note number {number} " + "with words " * (number % 7) for number in range(70)]
    together = await embedder.embed(texts)
    for number in (0, 31, 32, 69):
        [alone] = await embedder.embed([texts[number]])
        assert cosine(alone, together[number]) > 0.99


async def test_related_sentences_are_nearer_than_unrelated_ones() -> None:
    async with open_embedder() as embedder:
        for about, related, unrelated in TRIPLES:
            first, near, far = await embedder.embed([about, related, unrelated])
            assert cosine(first, near) > cosine(first, far) + 0.1


async def test_hashing_finds_shared_words() -> None:
    query, same, other = await HashingEmbedder().embed(["the blue car", "a blue car parked", "interest rates rose"])
    assert cosine(query, same) > cosine(query, other) + 0.2


async def test_the_loop_goes_on_while_texts_are_embedded() -> None:
    async with open_embedder() as embedder:
        working = asyncio.create_task(embedder.embed(["a longer text about many things " * 20] * 16))
        turns = 0
        while not working.done():
            await asyncio.wait([working], timeout=0.01)
            turns += 1
        assert len(working.result()) == 16
    assert turns > 5


async def test_without_its_packages_hashing_stands_in_loudly_under_another_id(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_embedder() as real:
        real_id = real.id
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with capture_logs() as logs:
        async with open_embedder() as embedder:
            assert isinstance(embedder, HashingEmbedder)
            assert embedder.id != real_id
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("embedder_model_missing", "warning")]


async def test_a_directory_of_ones_own_gives_the_model_and_another_id_for_another_model(tmp_path: Path) -> None:
    installed = module.find_model(None)
    assert installed is not None
    (tmp_path / "model.onnx").symlink_to(installed.model)
    (tmp_path / "tokenizer.json").write_bytes(installed.tokenizer.read_bytes() + b"\n")
    async with open_embedder(model_dir=tmp_path) as own, open_embedder() as default:
        assert own.id != default.id
        assert len((await own.embed(["hello"]))[0]) == 384


async def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match=r"model\.onnx"):
        async with open_embedder(model_dir=tmp_path):
            pass
