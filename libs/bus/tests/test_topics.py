"""What every bus promises about live topics, on each of them."""

import asyncio
from contextlib import suppress
from datetime import timedelta

from kasal_bus import Bus
from kasal_bus.mailbox import Mailbox
from kasal_bus.topology import LIVE, NUDGE_KEY, SIGNALS
from kasal_contracts.messages import LiveEvents, Nudge

from .recording import AT_ONCE, SOON, job


def live(execution_id: str) -> LiveEvents:
    return LiveEvents(execution_id=execution_id, events=[])


async def test_who_is_bound_hears_what_is_published(bus: Bus) -> None:
    async with bus.listen(LIVE) as feed:
        await feed.bind("one")
        await bus.publish(LIVE, "one", live("one"))
        assert await feed.next(SOON) == ("one", live("one"))


async def test_every_listener_hears(bus: Bus) -> None:
    async with bus.listen(SIGNALS) as first, bus.listen(SIGNALS) as second:
        await first.bind(NUDGE_KEY)
        await second.bind(NUDGE_KEY)
        await bus.publish(SIGNALS, NUDGE_KEY, Nudge())
        assert await first.next(SOON) == await second.next(SOON) == (NUDGE_KEY, Nudge())


async def test_a_feed_hears_its_own_keys_and_its_own_topic_only(bus: Bus) -> None:
    async with bus.listen(LIVE) as feed:
        await feed.bind("mine")
        await bus.publish(LIVE, "other", live("other"))
        await bus.publish(SIGNALS, "mine", Nudge())
        await bus.publish(LIVE, "mine", live("mine"))
        assert await feed.next(SOON) == ("mine", live("mine"))
        assert await feed.next(AT_ONCE) is None


async def test_an_unbound_key_is_silent(bus: Bus) -> None:
    async with bus.listen(LIVE) as feed:
        await feed.bind("one")
        await feed.bind("two")
        await feed.unbind("one")
        await bus.publish(LIVE, "one", live("one"))
        await bus.publish(LIVE, "two", live("two"))
        assert await feed.next(SOON) == ("two", live("two"))


async def test_messages_of_one_sender_are_heard_in_order(bus: Bus) -> None:
    async with bus.listen(LIVE) as feed:
        await feed.bind("one")
        sent = [live(str(number)) for number in range(200)]
        for message in sent:
            await bus.publish(LIVE, "one", message)
        assert [await feed.next(SOON) for _ in sent] == [("one", message) for message in sent]


async def test_waiting_may_be_cancelled_without_a_loss(bus: Bus) -> None:
    async with bus.listen(LIVE) as feed:
        await feed.bind("one")
        waiting = asyncio.create_task(feed.next(timedelta(hours=1)))
        assert await feed.next(AT_ONCE) is None
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        await bus.publish(LIVE, "one", live("one"))
        assert await feed.next(SOON) == ("one", live("one"))


async def test_what_is_published_to_nobody_is_gone(bus: Bus) -> None:
    await bus.publish(LIVE, "one", live("before"))
    async with bus.listen(LIVE) as feed:
        await feed.bind("one")
        await bus.publish(LIVE, "one", live("after"))
        assert await feed.next(SOON) == ("one", live("after"))


async def test_a_live_message_over_the_limit_is_dropped(bus: Bus) -> None:
    async with bus.listen(LIVE) as feed:
        await feed.bind("one")
        await bus.publish(LIVE, "one", live("x" * 300_000))
        await bus.publish(LIVE, "one", live("one"))
        assert await feed.next(SOON) == ("one", live("one"))


async def test_a_mailbox_that_overflows_keeps_the_newest_and_says_so() -> None:
    mailbox = Mailbox(size=2)
    for number in (1, 2, 3):
        mailbox.put("one", job(number))
    assert mailbox.generation == 1
    assert [await mailbox.next(AT_ONCE) for _ in range(3)] == [("one", job(2)), ("one", job(3)), None]


async def test_who_waits_is_woken_when_messages_were_missed() -> None:
    mailbox = Mailbox()
    waiting = asyncio.create_task(mailbox.next(timedelta(hours=1)))
    assert await mailbox.next(AT_ONCE) is None
    mailbox.missed()
    assert await asyncio.wait_for(waiting, SOON.total_seconds()) is None
    assert mailbox.generation == 1
