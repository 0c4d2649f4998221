"""Buses to test, and a broker that can be cut off."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import aio_pika
import pytest
from kasal_bus.bus import Bus
from kasal_bus.memory import open_memory
from kasal_bus.rabbit import open_rabbit
from kasal_bus.topology import TOPICS, WORK_QUEUES, Queue
from kasal_testing.proxy import Proxy


class Names:
    """Names that no other test run uses."""

    def __init__(self) -> None:
        self.prefix = f"test-{uuid4().hex[:8]}."
        self.queues = list(WORK_QUEUES)

    def queue(self, *, delivery_limit: int = 20, single_active: bool = False) -> Queue:
        queue = Queue(uuid4().hex[:8], delivery_limit=delivery_limit, single_active=single_active)
        self.queues.append(queue)
        return queue


@dataclass(frozen=True)
class Broker:
    """RabbitMQ itself, past the bus, and the end of what was named there."""

    url: str
    names: Names

    @property
    def prefix(self) -> str:
        return self.names.prefix

    @asynccontextmanager
    async def channel(self) -> AsyncGenerator[aio_pika.abc.AbstractChannel]:
        async with await aio_pika.connect(self.url) as connection, connection.channel() as channel:
            yield channel

    async def delete_all(self) -> None:
        async with self.channel() as channel:
            for queue in self.names.queues:
                await channel.queue_delete(f"{self.prefix}{queue.name}")
                await channel.queue_delete(f"{self.prefix}{queue.dead.name}")
            for topic in TOPICS:
                await channel.exchange_delete(f"{self.prefix}{topic.name}")


@pytest.fixture(scope="session")
def names() -> Names:
    return Names()


@pytest.fixture(scope="session")
def broker(amqp_url: str, names: Names) -> Generator[Broker]:
    broker = Broker(amqp_url, names)
    yield broker
    asyncio.run(broker.delete_all())


@pytest.fixture(params=["memory", "rabbit"])
async def bus(request: pytest.FixtureRequest) -> AsyncGenerator[Bus]:
    """The in-process bus needs no broker."""
    async with open_memory() if request.param == "memory" else _open(request.getfixturevalue("broker")) as bus:
        yield bus


@pytest.fixture
async def rabbit(broker: Broker) -> AsyncGenerator[Bus]:
    async with _open(broker) as bus:
        yield bus


def _open(broker: Broker) -> AbstractAsyncContextManager[Bus]:
    return open_rabbit(broker.url, prefix=broker.prefix)


@pytest.fixture
async def proxy(broker: Broker) -> AsyncGenerator[Proxy]:
    proxy = Proxy(broker.url)
    await proxy.start()
    yield proxy
    await proxy.cut()


@pytest.fixture
def queue(names: Names) -> Queue:
    return names.queue(delivery_limit=3)


@pytest.fixture
def ordered(names: Names) -> Queue:
    return names.queue(delivery_limit=3, single_active=True)
