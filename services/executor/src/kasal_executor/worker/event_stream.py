"""From a child's pipe to the event log: numbered, in order, without loss, and fast for the first of a burst."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog
from kasal_bus import Bus, BusUnavailableError
from kasal_bus.topology import LIVE, event_queue
from kasal_contracts.events import ChildEvent, Event, EventType, NumberedEvent
from kasal_contracts.messages import AttemptEvents, AttemptOutcome, LiveEvents

from .sizes import MAX_BATCH_BYTES, fitted, size_of

BATCH = 64
# What one attempt keeps in memory while the broker is away; then its child waits.
BACKLOG_BYTES = 4 * 2**20
FIRST_BACK_OFF = timedelta(milliseconds=100)
LONGEST_BACK_OFF = timedelta(seconds=2)

log = structlog.get_logger(__name__)


class EventStream:
    """Events of one attempt. Sends at once when nothing is under way; what comes meanwhile goes as one batch."""

    def __init__(self, bus: Bus, execution_id: str, attempt: int) -> None:
        self._bus = bus
        self._execution_id = execution_id
        self._attempt = attempt
        self._queue = event_queue(execution_id)
        self._last_seq = 0
        self._backlog: list[tuple[NumberedEvent, int]] = []
        self._backlog_bytes = 0
        self._news = asyncio.Event()
        self._sent = asyncio.Event()

    @property
    def last_seq(self) -> int:
        return self._last_seq

    async def put(self, event: ChildEvent) -> None:
        """Waits while too much is unsent. A chunk of an answer goes to those who watch and is not kept."""
        if event.type == EventType.LLM_CHUNK:
            await self._show(event)
            return
        while self._backlog_bytes > BACKLOG_BYTES:
            self._sent.clear()
            await self._sent.wait()
        self._last_seq += 1
        numbered, size = fitted(NumberedEvent(**dict(event), seq=self._last_seq))
        self._backlog.append((numbered, size))
        self._backlog_bytes += size
        self._news.set()

    async def flushed(self) -> None:
        """Wait until the broker has confirmed everything."""
        while self._backlog:
            self._sent.clear()
            await self._sent.wait()

    async def end(self, outcome: AttemptOutcome) -> bool:
        """The last message of the attempt. True once the broker has it."""
        await self.flushed()
        await self._send([], outcome)
        return True

    @asynccontextmanager
    async def sending(self) -> AsyncGenerator[None]:
        """Leaving it abandons what is unsent, which is right only when the attempt has ended or is lost."""
        task = asyncio.create_task(self._run(), name=f"events {self._execution_id}")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._backlog:
                batch = self._next_batch()
                await self._send([event for event, _ in batch], None)
                del self._backlog[: len(batch)]
                self._backlog_bytes -= sum(size for _, size in batch)
                self._sent.set()

    def _next_batch(self) -> list[tuple[NumberedEvent, int]]:
        room = MAX_BATCH_BYTES
        batch: list[tuple[NumberedEvent, int]] = []
        for event, size in self._backlog[:BATCH]:
            room -= size
            if batch and room < 0:
                break
            batch.append((event, size))
        return batch

    async def _send(self, events: list[NumberedEvent], outcome: AttemptOutcome | None) -> None:
        """Repeats until the broker confirms; the recorder drops what it has seen."""
        message = AttemptEvents(execution_id=self._execution_id, attempt=self._attempt, events=events, outcome=outcome)
        delay = FIRST_BACK_OFF
        while True:
            try:
                await self._bus.send(self._queue, message)
            except BusUnavailableError as error:
                log.warning("events_wait", execution_id=self._execution_id, reason=str(error))
                await asyncio.sleep(delay.total_seconds())
                delay = min(2 * delay, LONGEST_BACK_OFF)
            else:
                return

    async def _show(self, chunk: ChildEvent) -> None:
        shown = Event(**dict(chunk), id=None, execution_id=self._execution_id, attempt=self._attempt)
        live = LiveEvents(execution_id=self._execution_id, events=[shown])
        if size_of(live) <= MAX_BATCH_BYTES:
            await self._bus.publish(LIVE, self._execution_id, live)
