"""A consumer at the broker, on a channel of its own, and the news that it is one no longer."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel, DeliveredMessage

from kasal_bus.bus import BusUnavailableError

from .link import CALL_LIMIT, broker_errors, opened_channel

WATCH_INTERVAL = timedelta(seconds=5)


class Intake:
    """Deliveries in order. Lost for good when its channel closes or the broker cancels or forgets its consumer."""

    def __init__(self, channel: AbstractChannel, queue: str) -> None:
        self.channel = channel
        self.queue = queue
        self._tag = ""
        self._deliveries: deque[DeliveredMessage] = deque()
        self._news = asyncio.Event()
        self._lost = asyncio.Event()
        self._reason = ""

    async def take(self, most: int) -> Sequence[DeliveredMessage]:
        """Waits for a delivery; returns up to `most` of those that are there. Raises BusUnavailableError."""
        while not (self._deliveries or self._lost.is_set()):
            self._news.clear()
            await self._news.wait()
        self._raise_if_lost()
        return [self._deliveries.popleft() for _ in range(min(most, len(self._deliveries)))]

    async def pause(self, delay: timedelta) -> None:
        try:
            async with asyncio.timeout(delay.total_seconds()):
                await self._lost.wait()
        except TimeoutError:
            return
        self._raise_if_lost()

    async def start(self, *, no_ack: bool) -> None:
        self.channel.closing.add_done_callback(lambda _: self._lose("the channel was closed"))
        self.channel.on_consumer_cancel_callbacks.add(lambda _: self._lose("the broker cancelled the consumer"))
        with broker_errors():
            consuming = await self.channel.basic_consume(
                self.queue, self._deliver, no_ack=no_ack, timeout=CALL_LIMIT.total_seconds()
            )
        self._tag = str(consuming.consumer_tag)

    async def stop(self) -> None:
        with broker_errors():
            await self.channel.basic_cancel(self._tag, timeout=CALL_LIMIT.total_seconds())

    async def watch(self, connection: AbstractConnection) -> None:
        """Ask the broker from time to time whether it still knows of a consumer."""
        while not self._lost.is_set():
            await asyncio.sleep(WATCH_INTERVAL.total_seconds())
            try:
                async with opened_channel(connection) as channel:
                    with broker_errors():
                        found = await channel.queue_declare(
                            self.queue, passive=True, timeout=CALL_LIMIT.total_seconds()
                        )
            except BusUnavailableError as error:
                self._lose(str(error))
            else:
                if not found.consumer_count:
                    self._lose("the broker has no consumer")

    async def _deliver(self, message: DeliveredMessage) -> None:
        self._deliveries.append(message)
        self._news.set()

    def _lose(self, reason: str) -> None:
        self._reason = self._reason or reason
        self._lost.set()
        self._news.set()

    def _raise_if_lost(self) -> None:
        if self._lost.is_set():
            raise BusUnavailableError(self._reason)


@asynccontextmanager
async def opened_intake(
    connection: AbstractConnection, channel: AbstractChannel, queue: str, *, no_ack: bool = False
) -> AsyncGenerator[Intake]:
    intake = Intake(channel, queue)
    await intake.start(no_ack=no_ack)
    watch = asyncio.create_task(intake.watch(connection), name=f"watch {queue}")
    try:
        yield intake
    finally:
        watch.cancel()
        await asyncio.wait([watch])
