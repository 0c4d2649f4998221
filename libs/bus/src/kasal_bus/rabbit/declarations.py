"""Queues and exchanges as the broker sees them.

Arguments cannot change under a name, so these are made to hold from RabbitMQ 3.10 to 4.x.
"""

import asyncio

from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel, ArgumentsType

from kasal_bus.mailbox import MAILBOX_SIZE
from kasal_bus.topology import DeadQueue, Queue, Topic

from .link import CALL_LIMIT, broker_errors, opened_channel

# RabbitMQ 4 gives a queue without a limit one of 20 tries, and 3.10 has no word for "no limit".
_UNLIMITED = 2**31 - 1


class Declarations:
    """Declares under `prefix`, and remembers for one connection what is there already."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._declared: set[str] = set()
        self._declaring = asyncio.Lock()

    def name(self, of: Queue | DeadQueue | Topic) -> str:
        return f"{self._prefix}{of.name}"

    def forget(self, queue: Queue | DeadQueue) -> None:
        """`queue` may be gone."""
        self._declared.discard(queue.name)

    def forget_all(self) -> None:
        self._declared.clear()

    async def queue(self, connection: AbstractConnection, queue: Queue | DeadQueue) -> None:
        """Make sure that `queue` is there, and its dead queue before it."""
        if queue.name in self._declared:
            return
        async with self._declaring:
            if queue.name not in self._declared:
                await self._declare(connection, queue)
                self._declared.add(queue.name)

    async def _declare(self, connection: AbstractConnection, queue: Queue | DeadQueue) -> None:
        dead = self.name(queue.dead if isinstance(queue, Queue) else queue)
        async with opened_channel(connection) as channel:
            with broker_errors():
                await _declare(channel, dead, _arguments(_UNLIMITED, dead))
                if isinstance(queue, Queue):
                    arguments = _arguments(queue.delivery_limit - 1, dead, single_active=queue.single_active)
                    await _declare(channel, self.name(queue), arguments)

    async def topic(self, connection: AbstractConnection, topic: Topic) -> None:
        async with opened_channel(connection) as channel:
            with broker_errors():
                await channel.exchange_declare(
                    self.name(topic), exchange_type="direct", durable=True, timeout=CALL_LIMIT.total_seconds()
                )


async def declare_ear(channel: AbstractChannel) -> str:
    """A queue that is its connection's own and ends with its consumer. Returns the name that the broker gave it."""
    declared = await channel.queue_declare(
        exclusive=True,
        auto_delete=True,
        arguments={"x-queue-type": "classic", "x-max-length": MAILBOX_SIZE, "x-overflow": "drop-head"},
        timeout=CALL_LIMIT.total_seconds(),
    )
    return str(declared.queue)


async def _declare(channel: AbstractChannel, name: str, arguments: ArgumentsType) -> None:
    await channel.queue_declare(name, durable=True, arguments=arguments, timeout=CALL_LIMIT.total_seconds())


def _arguments(redeliveries: int, dead: str, *, single_active: bool = False) -> ArgumentsType:
    """A dead queue is its own dead queue: what its reader cannot read moves to its end and is not lost."""
    arguments: ArgumentsType = {
        "x-queue-type": "quorum",
        "x-delivery-limit": redeliveries,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead,
        # A dead letter leaves its queue when the dead queue has confirmed it; this wants reject-publish.
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    if single_active:
        arguments["x-single-active-consumer"] = True
    return arguments
