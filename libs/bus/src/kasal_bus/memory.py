"""The bus inside one process. It keeps its messages as long as the bus is open, and no longer."""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import uuid4

import structlog
from kasal_contracts.messages import Message

from .bus import Bus, Feed, Gate, Handler, OpenGate
from .codec import MessageTooLargeError, decode, encode
from .consumer import Consumer, Delivery, Subscription
from .mailbox import Mailbox
from .topology import DeadQueue, Queue, Topic

log = structlog.get_logger()


@dataclass(frozen=True)
class _Stored:
    body: bytes
    message_id: str
    tries: int = 0


class _MemoryQueue:
    """Messages in order, and the places at which they are waited for. Without a `dead` queue tries are unlimited."""

    def __init__(self, delivery_limit: int = 0, *, single_active: bool = False, dead: "_MemoryQueue | None" = None):
        self.ready: deque[_Stored] = deque()
        self._places: list[_MemorySubscription] = []
        self._delivery_limit = delivery_limit
        self._single_active = single_active
        self._dead = dead

    def put(self, message: _Stored) -> None:
        self.ready.append(message)
        self._wake()

    def give_back(self, messages: Sequence[_Stored]) -> None:
        """To the front, in order; one whose tries are used up goes to the dead queue instead."""
        tried = [replace(message, tries=message.tries + 1) for message in messages]
        for message in tried:
            if self._is_used_up(message):
                self.bury(message)
        self.ready.extendleft(message for message in reversed(tried) if not self._is_used_up(message))
        self._wake()

    def bury(self, message: _Stored) -> None:
        (self._dead or self).put(replace(message, tries=0))

    def serves(self, place: "_MemorySubscription") -> bool:
        return bool(self.ready) and (not self._single_active or self._places[0] is place)

    @asynccontextmanager
    async def place(self, prefetch: int) -> AsyncGenerator[Subscription]:
        place = _MemorySubscription(self, prefetch)
        self._places.append(place)
        try:
            yield place
        finally:
            self._places.remove(place)
            self.give_back(place.unsettled())

    def _is_used_up(self, message: _Stored) -> bool:
        return self._dead is not None and message.tries >= self._delivery_limit

    def _wake(self) -> None:
        for place in self._places:
            place.news.set()


class _MemorySubscription:
    def __init__(self, queue: _MemoryQueue, prefetch: int) -> None:
        self.news = asyncio.Event()
        self._queue = queue
        self._prefetch = prefetch
        self._taken: dict[int, _Stored] = {}
        self._last_tag = 0

    async def take(self) -> Sequence[Delivery]:
        while not self._queue.serves(self):
            self.news.clear()
            await self.news.wait()
        await asyncio.sleep(0)  # a handler that never waits leaves room for others
        count = min(self._prefetch, len(self._queue.ready))
        return [self._deliver(self._queue.ready.popleft()) for _ in range(count)]

    async def stop(self) -> None:
        """Nothing to do: only `take` brings a delivery."""

    async def ack(self, last: Delivery) -> None:
        self._taken = {tag: message for tag, message in self._taken.items() if tag > last.tag}

    async def bury(self, delivery: Delivery) -> None:
        self._queue.bury(self._taken.pop(delivery.tag))

    async def pause(self, delay: timedelta) -> None:
        await asyncio.sleep(delay.total_seconds())

    def unsettled(self) -> Sequence[_Stored]:
        return list(self._taken.values())

    def _deliver(self, message: _Stored) -> Delivery:
        self._last_tag += 1
        self._taken[self._last_tag] = message
        return Delivery(self._last_tag, message.body, message.message_id)


class _MemoryFeed:
    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.mailbox = Mailbox()

    @property
    def generation(self) -> int:
        return self.mailbox.generation

    async def bind(self, key: str) -> None:
        self.keys.add(key)

    async def unbind(self, key: str) -> None:
        self.keys.discard(key)

    async def next(self, limit: timedelta) -> tuple[str, Message] | None:
        return await self.mailbox.next(limit)


class MemoryBus:
    def __init__(self) -> None:
        self._queues: dict[str, _MemoryQueue] = {}
        self._feeds: defaultdict[str, list[_MemoryFeed]] = defaultdict(list)

    async def send(self, queue: Queue, message: Message) -> None:
        self._queue(queue).put(_Stored(encode(message), uuid4().hex))

    def consume(
        self, queue: Queue | DeadQueue, handler: Handler, *, batch: int = 1, gate: Gate | None = None
    ) -> AbstractAsyncContextManager[None]:
        place = self._queue(queue).place
        return Consumer(queue.name, place, handler, batch=batch, gate=gate or OpenGate()).running()

    async def publish(self, topic: Topic, key: str, message: Message) -> None:
        try:
            body = encode(message)
        except MessageTooLargeError as error:
            log.warning("live_message_dropped", topic=topic.name, reason=str(error))
            return
        for feed in self._feeds[topic.name]:
            if key in feed.keys:
                feed.mailbox.put(key, decode(body))

    @asynccontextmanager
    async def listen(self, topic: Topic) -> AsyncGenerator[Feed]:
        feed = _MemoryFeed()
        self._feeds[topic.name].append(feed)
        try:
            yield feed
        finally:
            self._feeds[topic.name].remove(feed)

    async def check(self) -> None:
        """Always answers."""

    def _queue(self, queue: Queue | DeadQueue) -> _MemoryQueue:
        found = self._queues.get(queue.name)
        if found is None:
            found = self._queues[queue.name] = self._made(queue)
        return found

    def _made(self, queue: Queue | DeadQueue) -> _MemoryQueue:
        if isinstance(queue, DeadQueue):
            return _MemoryQueue()
        return _MemoryQueue(queue.delivery_limit, single_active=queue.single_active, dead=self._queue(queue.dead))


@asynccontextmanager
async def open_memory() -> AsyncGenerator[Bus]:
    yield MemoryBus()
