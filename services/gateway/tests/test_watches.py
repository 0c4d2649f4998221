"""One binding for each execution, however many watch it; and what happens when the feed itself missed something."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from kasal_bus import Bus, Feed
from kasal_bus.bus import BusUnavailableError
from kasal_bus.mailbox import Mailbox
from kasal_bus.topology import LIVE
from kasal_contracts.errors import UnavailableError
from kasal_contracts.messages import LiveEvents, Message
from kasal_gateway.watches import Watches, open_watches

SOON = timedelta(seconds=5)


class CountingFeed:
    """A feed that remembers what it was asked, and can miss messages or be without a broker."""

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self.asked: list[str] = []
        self.away = False

    @property
    def generation(self) -> int:
        return self.mailbox.generation

    async def bind(self, key: str) -> None:
        if self.away:
            raise BusUnavailableError("no broker")
        self.asked.append(f"bind {key}")

    async def unbind(self, key: str) -> None:
        self.asked.append(f"unbind {key}")

    async def next(self, limit: timedelta) -> tuple[str, Message] | None:
        return await self.mailbox.next(limit)


@asynccontextmanager
async def delivering(feed: Feed) -> AsyncGenerator[Watches]:
    watches = Watches(feed, 10)
    task = asyncio.create_task(watches.deliver())
    yield watches
    task.cancel()
    await asyncio.wait([task])


async def test_one_binding_serves_all_clients_and_goes_with_the_last() -> None:
    feed = CountingFeed()
    async with delivering(feed) as watches:
        async with watches.watch("one"), watches.watch("two"):
            async with watches.watch("one"):
                assert feed.asked == ["bind one", "bind two"]
            assert feed.asked == ["bind one", "bind two"]
        assert feed.asked == ["bind one", "bind two", "unbind two", "unbind one"]
        assert watches.keys == frozenset()


async def test_a_feed_that_reconnected_sends_every_client_back_to_the_log() -> None:
    feed = CountingFeed()
    async with delivering(feed) as watches, watches.watch("one") as first, watches.watch("two") as second:
        feed.mailbox.missed()
        assert await first.next(SOON) is None
        assert await second.next(SOON) is None
        assert (first.generation, second.generation) == (1, 1)


async def test_without_a_broker_a_client_is_told_so_and_the_next_one_tries_anew() -> None:
    feed = CountingFeed()
    async with delivering(feed) as watches:
        feed.away = True
        with pytest.raises(UnavailableError, match="the message broker does not answer"):
            async with watches.watch("one"):
                pass
        feed.away = False
        async with watches.watch("one"):
            assert feed.asked == ["bind one"]


async def test_every_client_hears_what_is_published_under_its_key(any_bus: Bus) -> None:
    message = LiveEvents(execution_id="one", events=[])
    async with (
        open_watches(any_bus, 10) as watches,
        watches.watch("one") as first,
        watches.watch("one") as second,
        watches.watch("two") as third,
    ):
        generation = first.generation
        await any_bus.publish(LIVE, "one", message)
        heard = [letter for mailbox in (first, second) if (letter := await mailbox.next(SOON))]
        assert heard == [("one", message)] * 2
        assert await third.next(timedelta(0)) is None
        assert first.generation == generation
