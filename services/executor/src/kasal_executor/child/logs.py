"""What tools log becomes events of the execution."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from .reporter import Emit

# CrewAI and the clients log what their events say better, some of it through the root logger itself.
SILENT = ("root", "crewai", "openai", "anthropic", "httpx", "httpcore", "google_genai", "asyncio")


class EventHandler(logging.Handler):
    def __init__(self, emit: Emit) -> None:
        super().__init__(logging.INFO)
        self._emit = emit

    def filter(self, record: logging.LogRecord) -> bool:
        return record.name.split(".")[0] not in SILENT

    def emit(self, record: logging.LogRecord) -> None:
        self._emit("log", level=record.levelname.lower(), message=record.getMessage(), logger=record.name)


@contextmanager
def logged_to(emit: Emit) -> Iterator[None]:
    handler = EventHandler(emit)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
