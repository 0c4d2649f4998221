"""A process's ear on a topic of the broker: a queue that lives as long as the connection, bound to what is wanted."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog
from aiormq.abc import AbstractChannel, DeliveredMessage
from kasal_contracts.messages import Message

from kasal_bus.bus import BusUnavailableError
from kasal_bus.codec import UnreadableMessageError, decode
from kasal_bus.ending import ended
from kasal_bus.mailbox import MAILBOX_SIZE, Mailbox
from kasal_bus.topology import Topic

from .declarations import Declarations, declare_ear
from .intake import Intake, opened_intake
from .link import CALL_LIMIT, Link, broker_errors, opened_channel

log = structlog.get_logger()

BIND_LIMIT = timedelta(seconds=5)
PAUSE = timedelta(milliseconds=100)


class RabbitFeed:
    """`bind` and `unbind` use channels of their own: a caller that goes away in the middle closes nobody else's."""

    def __init__(self, link: Link, declarations: Declarations, topic: Topic) -> None:
        self._link = link
        self._declarations = declarations
        self._topic = topic
        self._exchange = declarations.name(topic)
        self._keys: set[str] = set()
        self._mailbox = Mailbox()
        self._queue = ""
        self._listening = asyncio.Event()
        # A key is bound either before or after all of them are bound to a new queue, never meanwhile.
        self._binding = asyncio.Lock()

    @property
    def generation(self) -> int:
        return self._mailbox.generation

    async def bind(self, key: str) -> None:
        async with self._while_listening() as channel:
            await self._bind(channel, key)
            self._keys.add(key)

    async def unbind(self, key: str) -> None:
        self._keys.discard(key)
        if not self._listening.is_set():
            return
        # Where the broker is gone, so is the binding.
        with suppress(BusUnavailableError):
            async with self._while_listening() as channel:
                with broker_errors():
                    await channel.queue_unbind(self._queue, self._exchange, key, timeout=CALL_LIMIT.total_seconds())

    async def next(self, limit: timedelta) -> tuple[str, Message] | None:
        return await self._mailbox.next(limit)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        task = asyncio.create_task(self._run(), name=f"listen {self._exchange}")
        try:
            yield
        finally:
            await ended(task)

    async def _run(self) -> None:
        while True:
            try:
                async with self._opened() as intake:
                    while True:
                        for message in await intake.take(MAILBOX_SIZE):
                            self._hear(message)
            except BusUnavailableError as lost:
                log.warning("feed_lost", topic=self._topic.name, reason=str(lost))
                await asyncio.sleep(PAUSE.total_seconds())

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[Intake]:
        connection = await self._link.connection()
        await self._declarations.topic(connection, self._topic)
        async with opened_channel(connection) as channel:
            with broker_errors():
                queue = await declare_ear(channel)
            async with opened_intake(connection, channel, queue, no_ack=True) as intake:
                async with self._binding:
                    self._queue = queue
                    for key in tuple(self._keys):
                        await self._bind(channel, key)
                if self._keys:
                    self._mailbox.missed()
                self._listening.set()
                try:
                    yield intake
                finally:
                    self._listening.clear()

    @asynccontextmanager
    async def _while_listening(self) -> AsyncGenerator[AbstractChannel]:
        try:
            async with asyncio.timeout(BIND_LIMIT.total_seconds()):
                await self._listening.wait()
                async with self._binding, opened_channel(await self._link.connection()) as channel:
                    yield channel
        except TimeoutError:
            raise BusUnavailableError(f"no broker within {BIND_LIMIT.total_seconds():g} s") from None

    async def _bind(self, channel: AbstractChannel, key: str) -> None:
        with broker_errors():
            await channel.queue_bind(self._queue, self._exchange, key, timeout=CALL_LIMIT.total_seconds())

    def _hear(self, message: DeliveredMessage) -> None:
        key = message.routing_key or ""
        if key not in self._keys:
            return
        try:
            self._mailbox.put(key, decode(message.body))
        except UnreadableMessageError as error:
            log.warning("live_message_unreadable", topic=self._topic.name, reason=str(error))
