"""The tree of what an execution did: execution > task > agent > model call or tool, and agents inside tools."""

import secrets
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["execution", "task", "agent", "tool", "llm"]


def new_span_id() -> str:
    return secrets.token_hex(8)


@dataclass(frozen=True)
class Span:
    """`task` and `agent` are keys of the crew; below a task and an agent they are inherited."""

    kind: Kind
    parent: "Span | None" = None
    task: str | None = None
    agent: str | None = None
    id: str = field(default_factory=new_span_id)
    began: float = field(default_factory=time.monotonic)

    def child(self, kind: Kind, *, task: str | None = None, agent: str | None = None) -> "Span":
        return Span(kind, self, task or self.task, agent or self.agent)

    def chain(self) -> "Iterator[Span]":
        """This span and those around it, inside out."""
        span: Span | None = self
        while span is not None:
            yield span
            span = span.parent

    @property
    def took_ms(self) -> int:
        return round((time.monotonic() - self.began) * 1000)


# CrewAI copies the context into every thread it starts, so each thread knows the span it works in.
current: ContextVar[Span] = ContextVar("current_span")
