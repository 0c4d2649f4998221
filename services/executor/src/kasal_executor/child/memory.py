"""Memory over the egress broker. CrewAI asks before a task and tells after it; nothing else of its memory is used."""

from typing import Any

import httpx
from crewai.memory.types import MemoryMatch, MemoryRecord
from crewai.memory.unified_memory import Memory
from kasal_contracts.memory import Matches, RecallIn, RemembersIn
from pydantic import PrivateAttr

from .broker import Broker
from .reporter import Emit

MAX_TEXT = 100_000


class MemoryUnavailableError(Exception):
    """The task goes on without memory; the execution's log says so."""


class RemoteMemory(Memory):  # type: ignore[misc]
    """One agent's view of the crew's memory. The broker binds group and crew; scopes play no part in that."""

    _broker: Any = PrivateAttr(default=None)
    _emit: Any = PrivateAttr(default=None)
    _agent: str = PrivateAttr(default="")

    def recall(self, query: str, limit: int = 5, **_: Any) -> list[MemoryMatch]:
        wanted = RecallIn(query=query[:MAX_TEXT], top_k=min(max(limit, 1), 50))
        found = Matches.model_validate_json(self._post("/memory/search", wanted).content).items
        self._emit(
            "memory.searched",
            query=query,
            items=[{"id": match.record.id, "text": match.record.text, "score": match.score} for match in found],
        )
        return [
            MemoryMatch(record=MemoryRecord(id=match.record.id, content=match.record.text), score=match.score)
            for match in found
        ]

    def extract_memories(self, content: str) -> list[str]:
        """The memory service decides what is worth keeping."""
        return [content]

    def remember_many(self, contents: list[str], **_: Any) -> list[MemoryRecord]:
        texts = [text[:MAX_TEXT] for text in contents if text.strip()]
        if texts:
            self._post("/memory/records", RemembersIn(texts=texts, agent=self._agent))
            self._emit("memory.saved", texts=list(texts))
        return [MemoryRecord(content=text) for text in texts]

    def remember(self, content: str, **_: Any) -> MemoryRecord:
        self.remember_many([content])
        return MemoryRecord(content=content)

    def drain_writes(self) -> None:
        """Saves are done when `remember_many` returns."""

    def _post(self, path: str, body: RecallIn | RemembersIn) -> httpx.Response:
        try:
            answer = self._broker.post(path, body.model_dump(mode="json"))
            answer.raise_for_status()
        except httpx.HTTPError as error:
            self._emit("log", level="warning", message="The memory could not be reached; going on without it.")
            raise MemoryUnavailableError("The memory could not be reached.") from error
        checked: httpx.Response = answer
        return checked


class NoStorage:
    """Given to CrewAI so that it opens no vector store of its own."""


def remote_memory(agent: str, broker: Broker, emit: Emit) -> RemoteMemory:
    memory = RemoteMemory(storage=NoStorage(), llm="none", embedder=_no_embedder)
    memory._broker, memory._emit, memory._agent = broker, emit, agent
    return memory


def _no_embedder(texts: list[str]) -> list[list[float]]:
    raise NotImplementedError(f"{len(texts)} texts are embedded by the memory service, not here")
