"""Buses to test, and a broker that can be cut off."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from uuid import uuid4

import aio_pika
import pytest
from kasal_bus.bus import Bus
from kasal_bus.memory import open_memory
from kasal_bus.rabbit import open_rabbit
from kasal_bus.topology import TOPICS, WORK_QUEUES, Queue
from kasal_testing.proxy import Proxy


class Names:
    """Names on a broker that no other test run uses, and the end of what they named."""

    def __init__(self, amqp_url: str) -> None:
        self.amqp_url = amqp_url
        self.prefix = f"test-{uuid4().hex[:8]}."
        self._queues = list(WORK_QUEUES)

    def queue(self, *, delivery_limit: int = 20, single_active: bool = False) -> Queue:
        queue = Queue(uuid4().hex[:8], delivery_limit=delivery_limit, single_active=single_active)
        self._queues.append(queue)
        return queue

    @asynccontextmanager
    async def channel(self) -> AsyncGenerator[aio_pika.abc.AbstractChannel]:
        """To the broker itself, past the bus."""
        async with await aio_pika.connect(self.amqp_url) as connection, connection.channel() as channel:
            yield channel

    async def delete_all(self) -> None:
        async with self.channel() as channel:
            for queue in self._queues:
                await channel.queue_delete(f"{self.prefix}{queue.name}")
                await channel.queue_delete(f"{self.prefix}{queue.dead.name}")
            for topic in TOPICS:
                await channel.exchange_delete(f"{self.prefix}{topic.name}")


@pytest.fixture(scope="session")
def names(amqp_url: str) -> Generator[Names]:
    names = Names(amqp_url)
    yield names
    asyncio.run(names.delete_all())


@pytest.fixture(params=["memory", "rabbit"])
async def bus(request: pytest.FixtureRequest, names: Names) -> AsyncGenerator[Bus]:
    async with open_memory() if request.param == "memory" else open_rabbit(names.amqp_url, prefix=names.prefix) as bus:
        yield bus


@pytest.fixture
async def rabbit(names: Names) -> AsyncGenerator[Bus]:
    async with open_rabbit(names.amqp_url, prefix=names.prefix) as bus:
        yield bus


@pytest.fixture
async def proxy(amqp_url: str) -> AsyncGenerator[Proxy]:
    proxy = Proxy(amqp_url)
    await proxy.start()
    yield proxy
    await proxy.cut()


@pytest.fixture
def queue(names: Names) -> Queue:
    return names.queue(delivery_limit=3)


@pytest.fixture
def ordered(names: Names) -> Queue:
    return names.queue(delivery_limit=3, single_active=True)
