"""One ear on the live topic for the whole process, one binding for each key that is watched, a mailbox per client."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from kasal_bus import Bus, BusUnavailableError, Feed
from kasal_bus.mailbox import Mailbox
from kasal_bus.topology import LIVE
from kasal_contracts.errors import UnavailableError

LISTEN = timedelta(seconds=60)


@dataclass
class _Watch:
    mailboxes: list[Mailbox] = field(default_factory=list)
    bound: bool = False
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)


class Watches:
    """A mailbox whose `generation` grew has missed messages: its owner reads the log again.

    That happens after a reconnect of the feed, and when a slow client let `mailbox_size` messages pile up.
    """

    def __init__(self, feed: Feed, mailbox_size: int) -> None:
        self._feed = feed
        self._generation = feed.generation
        self._mailbox_size = mailbox_size
        self._watches: dict[str, _Watch] = {}

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(self._watches)

    @asynccontextmanager
    async def watch(self, key: str) -> AsyncGenerator[Mailbox]:
        """What is published under `key` from now on. Raises UnavailableError when the broker does not answer."""
        watch = self._watches.setdefault(key, _Watch())
        mailbox = Mailbox(self._mailbox_size)
        watch.mailboxes.append(mailbox)
        try:
            await self._bind(key, watch)
            yield mailbox
        finally:
            watch.mailboxes.remove(mailbox)
            await self._unbind(key, watch)

    async def _bind(self, key: str, watch: _Watch) -> None:
        async with watch.changing:
            if watch.bound:
                return
            try:
                await self._feed.bind(key)
            except BusUnavailableError as error:
                raise UnavailableError("the message broker does not answer") from error
            watch.bound = True

    async def _unbind(self, key: str, watch: _Watch) -> None:
        async with watch.changing:
            if watch.bound and not watch.mailboxes:
                watch.bound = False
                await self._feed.unbind(key)
            # Somebody may have come while the broker was asked; then the watch is theirs.
            if not watch.mailboxes:
                self._watches.pop(key, None)

    async def deliver(self) -> None:
        """Runs until cancelled: hands what the feed hears to whoever watches."""
        while True:
            letter = await self._feed.next(LISTEN)
            if self._generation != self._feed.generation:
                self._generation = self._feed.generation
                self._tell_all()
            if letter is not None:
                key, message = letter
                for mailbox in self._watches.get(key, _Watch()).mailboxes:
                    mailbox.put(key, message)

    def _tell_all(self) -> None:
        for watch in self._watches.values():
            for mailbox in watch.mailboxes:
                mailbox.missed()


@asynccontextmanager
async def open_watches(bus: Bus, mailbox_size: int) -> AsyncGenerator[Watches]:
    async with bus.listen(LIVE) as feed:
        watches = Watches(feed, mailbox_size)
        delivering = asyncio.create_task(watches.deliver(), name="live-feed")
        try:
            yield watches
        finally:
            delivering.cancel()
            await asyncio.wait([delivering])
