"""Buses to test, messages to send, and a broker that can be cut off."""

import asyncio
import os
from collections.abc import AsyncGenerator, Generator
from uuid import uuid4

import aio_pika
import pytest
from kasal_bus.bus import Bus
from kasal_bus.memory import open_memory
from kasal_bus.rabbit import open_rabbit
from kasal_bus.topology import TOPICS, WORK_QUEUES, Queue
from yarl import URL

BROKER_URL = os.environ.get("KASAL_TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/")


class Names:
    """Names that no other test run uses, and the end of what they named."""

    def __init__(self) -> None:
        self.prefix = f"test-{uuid4().hex[:8]}."
        self._queues = list(WORK_QUEUES)

    def queue(self, *, delivery_limit: int = 20, single_active: bool = False) -> Queue:
        queue = Queue(uuid4().hex[:8], delivery_limit=delivery_limit, single_active=single_active)
        self._queues.append(queue)
        return queue

    async def delete_all(self) -> None:
        async with await aio_pika.connect(BROKER_URL) as connection, connection.channel() as channel:
            for queue in self._queues:
                await channel.queue_delete(f"{self.prefix}{queue.name}")
                await channel.queue_delete(f"{self.prefix}{queue.dead.name}")
            for topic in TOPICS:
                await channel.exchange_delete(f"{self.prefix}{topic.name}")


class Proxy:
    """A broker that can go away: it passes bytes on to the real one, until it is cut."""

    def __init__(self) -> None:
        self._broker = URL(BROKER_URL)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._pipes: set[asyncio.Task[None]] = set()
        self._frozen: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return str(self._broker.with_host("127.0.0.1").with_port(self._port))

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Close every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
        for pipe in self._pipes:
            pipe.cancel()
        if self._pipes:
            await asyncio.wait(self._pipes)

    def freeze(self) -> None:
        """Keep the connections there are, and pass nothing on; connections to come are passed on."""
        self._frozen |= self._pipes

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(self._broker.host, self._broker.port or 5672)
        for source, sink in ((reader, upstream_writer), (upstream_reader, writer)):
            pipe = asyncio.create_task(self._pass_on(source, sink))
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                if asyncio.current_task() not in self._frozen:
                    sink.write(data)
                    await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()


@pytest.fixture(scope="session")
def names() -> Generator[Names]:
    names = Names()
    yield names
    asyncio.run(names.delete_all())


@pytest.fixture(params=["memory", "rabbit"])
async def bus(request: pytest.FixtureRequest, names: Names) -> AsyncGenerator[Bus]:
    async with open_memory() if request.param == "memory" else open_rabbit(BROKER_URL, prefix=names.prefix) as bus:
        yield bus


@pytest.fixture
async def rabbit(names: Names) -> AsyncGenerator[Bus]:
    async with open_rabbit(BROKER_URL, prefix=names.prefix) as bus:
        yield bus


@pytest.fixture
async def proxy() -> AsyncGenerator[Proxy]:
    proxy = Proxy()
    await proxy.start()
    yield proxy
    await proxy.cut()


@pytest.fixture
def queue(names: Names) -> Queue:
    return names.queue(delivery_limit=3)


@pytest.fixture
def ordered(names: Names) -> Queue:
    return names.queue(delivery_limit=3, single_active=True)
