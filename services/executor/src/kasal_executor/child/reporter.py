"""The one way events leave a child: in order, bounded, with chunks joined to one frame per 50 ms."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from kasal_contracts.events import ChildEvent, EventType
from pydantic import JsonValue

from kasal_executor.pipe import ChildFrame

from .spans import Span

CHUNK_INTERVAL_S = 0.05
MAX_TEXT = 64 * 1024
CUT = "… (cut)"


class Sender(Protocol):
    def send(self, frame: ChildFrame) -> None: ...


class Emit(Protocol):
    """Reports something that happens inside the current span."""

    def __call__(self, type_: str, /, **data: JsonValue) -> None: ...


@dataclass
class _Chunks:
    """Text of one call that has not been sent yet."""

    span: Span
    call_id: str
    model: str
    texts: list[str] = field(default_factory=list)


class Reporter:
    """Writes on the calling thread, so that an event is out before whatever comes next can crash the process."""

    def __init__(self, channel: Sender) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._held: _Chunks | None = None
        self._is_closed = False
        self._wake = threading.Event()
        self._flusher: threading.Thread | None = None

    def emit(self, type_: str, span: Span, **data: JsonValue) -> None:
        """`span` is the one that the event is about; a log line belongs to the span it was written in."""
        with self._lock:
            self._release()
            self._send(_event(type_, span, data))

    def close(self) -> None:
        """Threads that still work when a crew has failed are heard no more."""
        with self._lock:
            self._release()
            self._is_closed = True

    def chunk(self, span: Span, call_id: str, model: str, text: str) -> None:
        with self._lock:
            if self._held is not None and self._held.call_id != call_id:
                self._release()
            if self._held is None:
                self._held = _Chunks(span, call_id, model)
                self._ensure_flusher()
                self._wake.set()
            self._held.texts.append(text)

    def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            data: dict[str, JsonValue] = {"model": held.model, "call_id": held.call_id, "text": "".join(held.texts)}
            self._send(_event(EventType.LLM_CHUNK, held.span, data))

    def _send(self, event: ChildEvent) -> None:
        if not self._is_closed:
            self._channel.send(ChildFrame(event=event))

    def _ensure_flusher(self) -> None:
        if self._flusher is None:
            self._flusher = threading.Thread(target=self._flush_chunks, name="chunks", daemon=True)
            self._flusher.start()

    def _flush_chunks(self) -> None:
        pause = threading.Event()
        while True:
            self._wake.wait()
            self._wake.clear()
            pause.wait(CHUNK_INTERVAL_S)
            with self._lock:
                self._release()


def _event(type_: str, span: Span, data: Mapping[str, JsonValue]) -> ChildEvent:
    return ChildEvent(
        ts=datetime.now(UTC),
        type=type_,
        task=span.task,
        agent=span.agent,
        span_id=span.id,
        parent_span_id=span.parent.id if span.parent is not None else None,
        data={name: bounded(value) for name, value in data.items()},
    )


def bounded(value: JsonValue, room: int = MAX_TEXT) -> JsonValue:
    """`value` with long texts cut, and lists and objects that have no more room ended."""
    match value:
        case str():
            return value if len(value) <= room else value[:room] + CUT
        case list():
            return _bounded_list(value, room)
        case dict():
            items = [[key, each] for key, each in value.items()]
            kept = _bounded_list([each for _, each in items], room)
            return {str(key): each for (key, _), each in zip(items, kept, strict=False)}
        case _:
            return value


def _bounded_list(values: list[JsonValue], room: int) -> list[JsonValue]:
    kept: list[JsonValue] = []
    for value in values:
        if room <= 0:
            kept.append(CUT)
            break
        kept.append(bounded(value, room))
        room -= _size(kept[-1])
    return kept


def _size(value: JsonValue) -> int:
    match value:
        case str():
            return len(value) + 2
        case list():
            return 2 + sum(_size(each) for each in value)
        case dict():
            return 2 + sum(len(key) + _size(each) for key, each in value.items())
        case _:
            return 8
