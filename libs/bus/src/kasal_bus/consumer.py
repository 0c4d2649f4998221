"""The loop around a handler, shared by both buses: gate, batches, tries, pauses, and a quiet end."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog
from kasal_contracts.messages import Message

from .bus import BusUnavailableError, Gate, Handler, RetryLater
from .codec import UnreadableMessageError, decode
from .ending import ended

log = structlog.get_logger()

CLOSE_LIMIT = timedelta(seconds=10)
FIRST_BACK_OFF = timedelta(milliseconds=50)
LONGEST_BACK_OFF = timedelta(seconds=1)
UNREADABLE_PAUSE = timedelta(milliseconds=250)


@dataclass(frozen=True)
class Delivery:
    """A message in our hands. `tag` grows with each delivery of one subscription."""

    tag: int
    body: bytes
    message_id: str | None


class Subscription(Protocol):
    """A place at a queue. Leaving it returns, in order, what was neither acknowledged nor buried: one try used up.

    Every method raises BusUnavailableError once the place is lost; the queue then has its messages back.
    """

    async def take(self) -> Sequence[Delivery]:
        """Waits for a delivery; returns it with those that are there as well, up to the prefetch."""

    async def stop(self) -> None:
        """No further deliveries from now on."""

    async def ack(self, last: Delivery) -> None:
        """`last` and all that was taken before it is done."""

    async def bury(self, delivery: Delivery) -> None:
        """To the dead queue, whatever tries are left."""

    async def pause(self, delay: timedelta) -> None:
        """Sleep, but not longer than the place is ours."""


Subscribe = Callable[[int], AbstractAsyncContextManager[Subscription]]
"""Takes the prefetch: how many deliveries there may be in our hands at once."""


class Consumer:
    """Feeds one handler from one queue for as long as it is `running`."""

    def __init__(self, queue: str, subscribe: Subscribe, handler: Handler, *, batch: int, gate: Gate) -> None:
        self._queue = queue
        self._subscribe = subscribe
        self._handler = handler
        self._batch = batch
        self._gate = gate
        self._closing = False
        self._in_hand: Sequence[tuple[Delivery, Message]] = ()
        self._idle = asyncio.Event()
        self._idle.set()
        self._failures = 0
        # After a batch failed its messages come one by one, so that only the guilty one uses up its tries.
        self._one_by_one = 0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        task = asyncio.create_task(self._run(), name=f"consume {self._queue}")
        try:
            yield
        finally:
            self._closing = True
            try:
                async with asyncio.timeout(CLOSE_LIMIT.total_seconds()):
                    await self._idle.wait()
            except TimeoutError:
                log.warning("handler_abandoned", queue=self._queue, waited_s=CLOSE_LIMIT.total_seconds())
            finally:
                await ended(task)

    async def _run(self) -> None:
        while not self._closing:
            self._in_hand = ()
            prefetch = 1 if self._one_by_one else self._batch
            try:
                await self._gate.opened()
                async with self._subscribe(prefetch) as subscription:
                    await self._serve(subscription, prefetch)
            except BusUnavailableError as lost:
                log.warning("consumer_lost", queue=self._queue, reason=str(lost))
                await self._back_off()
            except Exception:  # the consumer outlives any one message; the broker counts tries
                log.exception("messages_failed", queue=self._queue, messages=self._named())
                self._one_by_one = max(self._one_by_one, prefetch)
                await self._back_off()

    async def _serve(self, subscription: Subscription, prefetch: int) -> None:
        """Handle what comes until the gate shuts or the whole batch may come again."""
        while not self._closing and self._gate.is_open():
            deliveries = await subscription.take()
            if not self._gate.is_open():
                return
            self._in_hand = await self._readable(subscription, deliveries)
            if self._in_hand and not await self._handle(subscription):
                return
            self._one_by_one = max(self._one_by_one - len(deliveries), 0)
            if prefetch < self._batch and not self._one_by_one:
                return

    async def _readable(
        self, subscription: Subscription, deliveries: Sequence[Delivery]
    ) -> Sequence[tuple[Delivery, Message]]:
        readable = []
        for delivery in deliveries:
            try:
                readable.append((delivery, decode(delivery.body)))
            except UnreadableMessageError as error:
                log.warning("message_unreadable", queue=self._queue, message_id=delivery.message_id, reason=str(error))
                await subscription.bury(delivery)
        if len(readable) < len(deliveries):
            # What the reader of a dead queue cannot read moves to its own end; without a pause it would spin.
            await subscription.pause(UNREADABLE_PAUSE)
        return readable

    async def _handle(self, subscription: Subscription) -> bool:
        """Call the handler with what is in hand until it has returned. False when the subscription was stopped."""
        last, _ = self._in_hand[-1]
        messages = [message for _, message in self._in_hand]
        while True:
            try:
                with self._in_flight():
                    await self._handler(messages)
                    may_take_more = self._gate.is_open()
                    if not may_take_more:
                        await subscription.stop()
                    await subscription.ack(last)
            except RetryLater as later:
                log.warning("handler_waits", queue=self._queue, again_in_s=later.after.total_seconds())
                await subscription.pause(later.after)
            else:
                self._failures = 0
                return may_take_more

    @contextmanager
    def _in_flight(self) -> Generator[None]:
        self._idle.clear()
        try:
            yield
        finally:
            self._idle.set()

    async def _back_off(self) -> None:
        delay = min(FIRST_BACK_OFF * 2**self._failures, LONGEST_BACK_OFF)
        self._failures = min(self._failures + 1, 10)
        await asyncio.sleep(delay.total_seconds())

    def _named(self) -> list[str]:
        return [f"{message.type} {delivery.message_id}" for delivery, message in self._in_hand]
