"""The bus on RabbitMQ: what is sent, what is published, and who receives."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from uuid import uuid4

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import DeliveryError, PublishError
from kasal_contracts.messages import Message

from kasal_bus.bus import Bus, BusUnavailableError, Feed, Gate, Handler, OpenGate
from kasal_bus.codec import MessageTooLargeError, encode
from kasal_bus.consumer import Consumer
from kasal_bus.topology import TOPICS, WORK_QUEUES, DeadQueue, Queue, Topic

from .declarations import Declarations
from .feed import RabbitFeed
from .link import Link, broker_errors, opened_channel
from .subscription import subscribed

log = structlog.get_logger()

SEND_LIMIT = timedelta(seconds=5)
RESEND_PAUSE = timedelta(milliseconds=50)
# RabbitMQ first tells the consumers of a deleted queue. Where it is made anew before, they hang on it and get nothing.
REDECLARE_PAUSE = timedelta(seconds=1)
PUBLISH_LIMIT = timedelta(milliseconds=500)
CHECK_LIMIT = timedelta(seconds=2)


class RabbitBus:
    """Durable sends, live messages and all that is received have a connection each.

    A broker that is short of memory stops reading from connections that publish; it must not stop acknowledgements.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._sent = Declarations(prefix)
        self._received = Declarations(prefix)
        self._sends = Link(url, "sends", confirms=True, prepare=self._declare_queues)
        self._live = Link(url, "live", prepare=self._declare_topics)
        self._receives = Link(url, "receives", prepare=self._forget_declared)
        self.links = (self._sends, self._live, self._receives)
        self.dropped = 0
        """Live messages that could not be published since the start."""

    async def send(self, queue: Queue, message: Message) -> None:
        envelope = _envelope(message, aio_pika.DeliveryMode.PERSISTENT)
        try:
            async with asyncio.timeout(SEND_LIMIT.total_seconds()):
                while not await self._is_confirmed(queue, envelope):
                    log.info("send_repeated", queue=queue.name, message_id=envelope.message_id)
                    await asyncio.sleep(RESEND_PAUSE.total_seconds())
        except TimeoutError:
            raise BusUnavailableError(f"not confirmed within {SEND_LIMIT.total_seconds():g} s") from None

    async def _is_confirmed(self, queue: Queue, envelope: aio_pika.Message) -> bool:
        """False when the connection went before the broker answered, or the queue cannot take it now."""
        await self._sent.queue(await self._sends.connection(), queue)
        channel = await self._sends.channel()
        try:
            with broker_errors():
                await channel.default_exchange.publish(envelope, self._sent.name(queue), mandatory=True)
        except BusUnavailableError as error:
            match error.__cause__:
                case PublishError():  # it came back: the queue is gone
                    asyncio.get_running_loop().call_later(REDECLARE_PAUSE.total_seconds(), self._sent.forget, queue)
                    raise
                case DeliveryError():  # a quorum queue that is electing a leader says no
                    return False
                case _:
                    self._sends.drop(channel)
                    return False
        return True

    def consume(
        self, queue: Queue | DeadQueue, handler: Handler, *, batch: int = 1, gate: Gate | None = None
    ) -> AbstractAsyncContextManager[None]:
        subscribe = partial(subscribed, self._receives, self._received, queue)
        return Consumer(queue.name, subscribe, handler, batch=batch, gate=gate or OpenGate()).running()

    async def publish(self, topic: Topic, key: str, message: Message) -> None:
        if not self._live.is_up:
            self._drop(topic, "no broker")
            return
        channel = await self._live.channel()
        try:
            envelope = _envelope(message, aio_pika.DeliveryMode.NOT_PERSISTENT)
            with broker_errors():
                async with asyncio.timeout(PUBLISH_LIMIT.total_seconds()):
                    exchange = await channel.get_exchange(self._sent.name(topic), ensure=False)
                    await exchange.publish(envelope, key, mandatory=False)
        except MessageTooLargeError as error:
            self._drop(topic, str(error))
        except BusUnavailableError as error:
            self._live.drop(channel)
            self._drop(topic, str(error))

    @asynccontextmanager
    async def listen(self, topic: Topic) -> AsyncGenerator[Feed]:
        feed = RabbitFeed(self._receives, self._received, topic)
        async with feed.running():
            yield feed

    async def check(self) -> None:
        if not all(link.is_up for link in self.links):
            raise BusUnavailableError("not connected to the broker")
        try:
            async with asyncio.timeout(CHECK_LIMIT.total_seconds()):
                async with opened_channel(await self._receives.connection()):
                    return
        except TimeoutError:
            raise BusUnavailableError(f"no answer within {CHECK_LIMIT.total_seconds():g} s") from None

    def _drop(self, topic: Topic, reason: str) -> None:
        self.dropped += 1
        if self.dropped.bit_count() == 1:  # an outage drops many: the 1st, 2nd, 4th, 8th … is told
            log.warning("live_message_dropped", topic=topic.name, reason=reason, dropped=self.dropped)

    async def _declare_queues(self, connection: AbstractConnection) -> None:
        self._sent.forget_all()
        for queue in WORK_QUEUES:
            await self._sent.queue(connection, queue)

    async def _declare_topics(self, connection: AbstractConnection) -> None:
        for topic in TOPICS:
            await self._sent.topic(connection, topic)

    async def _forget_declared(self, _: AbstractConnection) -> None:
        self._received.forget_all()


def _envelope(message: Message, mode: aio_pika.DeliveryMode) -> aio_pika.Message:
    """Raises MessageTooLargeError."""
    return aio_pika.Message(
        encode(message),
        content_type="application/json",
        type=message.type,
        message_id=uuid4().hex,
        delivery_mode=mode,
    )


@asynccontextmanager
async def open_rabbit(url: str, *, prefix: str = "") -> AsyncGenerator[Bus]:
    """Tries to connect, and opens without a broker too: it may come later, and `check` says whether it is there.

    Every queue and exchange gets `prefix` before its name.
    """
    bus = RabbitBus(url, prefix)
    async with AsyncExitStack() as stack:
        for link in bus.links:
            await stack.enter_async_context(link.running())
        for link in bus.links:
            await link.tried()
        yield bus
