"""Every event of one execution once and in order: first from the log, then live, and from the log again in doubt.

The key is bound before the log is first read, so whatever is not yet in the log then arrives in the mailbox. Events
reach the live topic only after they are logged and their ids have no gaps, so an id that is not the next one means
that something was missed, and the log has it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from urllib.parse import quote

import structlog
from kasal_bus.mailbox import Mailbox
from kasal_contracts.errors import KasalError
from kasal_contracts.events import Event
from kasal_contracts.executions import Status
from kasal_contracts.messages import LiveEvents
from kasal_contracts.pages import Page
from kasal_runtime.peers import Peer
from kasal_runtime.tokens import TokenVerifier
from pydantic import BaseModel

from .door import Admission
from .watches import Watches

PAGE = 200
RECHECK = timedelta(seconds=1)

log = structlog.get_logger(__name__)


class _State(BaseModel):
    status: Status


@dataclass(frozen=True)
class EventLog:
    """The log of one execution, read with the caller's own token: it says whether they may see it."""

    executor: Peer
    execution_id: str
    token: str

    async def page(self, last: int) -> list[Event]:
        """Up to `PAGE` events after `last`, oldest first. Raises PeerRefusedError or PeerUnavailableError."""
        params = {"after": str(last), "limit": str(PAGE)}
        page = await self.executor.call("GET", f"{self._path}/events", Page[Event], token=self.token, params=params)
        return page.items

    async def has_ended(self) -> bool:
        state = await self.executor.call("GET", self._path, _State, token=self.token)
        return state.status.is_end

    @property
    def _path(self) -> str:
        return f"/api/v1/execution/{quote(self.execution_id, safe='')}"


class Follower:
    """Joins log and mailbox. `last` is the id that the client has."""

    def __init__(self, event_log: EventLog, mailbox: Mailbox, last: int) -> None:
        self._log = event_log
        self._mailbox = mailbox
        self._last = last
        self._generation = mailbox.generation
        self._behind = True
        self._final = False
        self._ready: list[Event] = []

    @property
    def ended(self) -> bool:
        """Whether the final event was handed out."""
        return self._final and not self._ready

    async def has_more(self) -> bool:
        """Whether anything follows `last`, now or later. Raises KasalError when the caller may not know."""
        self._ready = await self._catch_up()
        if self._ready or not await self._log.has_ended():
            return True
        # The final event may have been written between the two questions.
        self._ready = await self._catch_up()
        return bool(self._ready)

    async def next(self, limit: timedelta) -> list[Event]:
        """What is new; empty after `limit`. Raises KasalError when the log cannot be read."""
        if self._ready:
            ready, self._ready = self._ready, []
            return ready
        if self._behind or self._generation != self._mailbox.generation:
            return await self._catch_up()
        letter = await self._mailbox.next(limit)
        if letter is None or not isinstance(letter[1], LiveEvents):
            return []
        return self._fresh(letter[1].events)

    def doubt(self) -> None:
        """Read the log before going on: the broker promises nothing about the live topic."""
        self._behind = True

    async def _catch_up(self) -> list[Event]:
        generation = self._mailbox.generation
        page = await self._log.page(self._last)
        self._generation = generation
        self._behind = len(page) == PAGE
        return [event for event in page if self._accepts(event)]

    def _fresh(self, events: list[Event]) -> list[Event]:
        fresh = []
        for event in events:
            if event.id is not None and event.id > self._last + 1:
                self._behind = True
                break
            if self._accepts(event):
                fresh.append(event)
        return fresh

    def _accepts(self, event: Event) -> bool:
        if self._final:
            return False
        if event.id is None:
            return True
        if event.id <= self._last:
            return False
        self._last = event.id
        self._final = event.is_end
        return True


@dataclass(frozen=True)
class Viewing:
    """One client that watches. It ends with the execution or with the client's right to see it."""

    follower: Follower
    verifier: TokenVerifier
    token: str
    heartbeat: timedelta

    async def batches(self) -> AsyncGenerator[list[Event]]:
        """Events as they come, and an empty list after each silence of `heartbeat`.

        Raises KasalError when the token is no longer good. A log that cannot be read now is read a moment later.
        """
        quiet_until = time.monotonic() + self.heartbeat.total_seconds()
        while not self.follower.ended:
            await self.verifier.verify(self.token)
            left = timedelta(seconds=max(quiet_until - time.monotonic(), 0))
            events = await self._next(min(left, RECHECK))
            now = time.monotonic()
            if not events and now < quiet_until:
                continue
            if not events:
                self.follower.doubt()
            quiet_until = now + self.heartbeat.total_seconds()
            yield events

    async def _next(self, limit: timedelta) -> list[Event]:
        try:
            return await self.follower.next(limit)
        except KasalError as error:
            if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            log.warning("event_log_unreadable", detail=error.detail)
            await asyncio.sleep(RECHECK.total_seconds())
            return []


@dataclass(frozen=True)
class Viewings:
    """Opens viewings, for SSE and for WebSockets alike."""

    watches: Watches
    executor: Peer
    verifier: TokenVerifier
    heartbeat: timedelta

    @asynccontextmanager
    async def open(self, execution_id: str, admission: Admission, last: int) -> AsyncGenerator[Viewing | None]:
        """`None` when the execution ended at `last` or before. Raises KasalError when the caller may not see it."""
        async with self.watches.watch(execution_id) as mailbox:
            event_log = EventLog(self.executor, execution_id, admission.token)
            follower = Follower(event_log, mailbox, last)
            more = await follower.has_more()
            yield Viewing(follower, self.verifier, admission.token, self.heartbeat) if more else None
