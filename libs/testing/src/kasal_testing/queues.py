"""Names of one's own on a shared broker, and their end: each quorum queue that is left behind costs it open files."""

import asyncio
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress

import aio_pika
from kasal_bus.topology import TOPICS, WORK_QUEUES

PATIENCE_S = 10


@contextmanager
def own_queues(amqp_url: str) -> Generator[str]:
    """A prefix for `open_rabbit`; whatever was declared under it is deleted when the context closes."""
    prefix = f"test.{uuid.uuid4().hex[:8]}."
    try:
        yield prefix
    finally:
        # A broker that went away must not hide why.
        with suppress(TimeoutError, ConnectionError):
            asyncio.run(_delete(amqp_url, prefix))


async def _delete(amqp_url: str, prefix: str) -> None:
    async with await aio_pika.connect(amqp_url, timeout=PATIENCE_S) as connection, connection.channel() as channel:
        for queue in WORK_QUEUES:
            for name in (queue.name, queue.dead.name):
                await channel.queue_delete(prefix + name, timeout=PATIENCE_S)
        for topic in TOPICS:
            await channel.exchange_delete(prefix + topic.name, timeout=PATIENCE_S)
