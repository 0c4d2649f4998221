"""A place at a queue of the broker."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from kasal_bus.bus import BusUnavailableError
from kasal_bus.consumer import Delivery, Subscription
from kasal_bus.topology import DeadQueue, Queue

from .declarations import Declarations
from .intake import Intake, opened_intake
from .link import CALL_LIMIT, Link, broker_errors, opened_channel


class RabbitSubscription:
    def __init__(self, intake: Intake, prefetch: int) -> None:
        self._intake = intake
        self._prefetch = prefetch

    async def take(self) -> Sequence[Delivery]:
        return [
            Delivery(message.delivery_tag or 0, message.body, message.header.properties.message_id)
            for message in await self._intake.take(self._prefetch)
        ]

    async def stop(self) -> None:
        await self._intake.stop()

    async def ack(self, last: Delivery) -> None:
        with broker_errors():
            await self._intake.channel.basic_ack(last.tag, multiple=True)

    async def bury(self, delivery: Delivery) -> None:
        with broker_errors():
            await self._intake.channel.basic_reject(delivery.tag, requeue=False)

    async def pause(self, delay: timedelta) -> None:
        await self._intake.pause(delay)


@asynccontextmanager
async def subscribed(
    link: Link, declarations: Declarations, queue: Queue | DeadQueue, prefetch: int
) -> AsyncGenerator[Subscription]:
    """Waits for the broker.

    Leaving closes the channel: the broker takes back what is unsettled at once and in order, before another consumer
    is served, and counts a try. RabbitMQ 4.3 would not count a `basic.nack`, and a rejected message could come back
    before the consumer has gone.
    """
    connection = await link.connection()
    try:
        await declarations.queue(connection, queue)
        async with opened_channel(connection) as channel:
            with broker_errors():
                await channel.basic_qos(prefetch_count=prefetch, timeout=CALL_LIMIT.total_seconds())
            async with opened_intake(connection, channel, declarations.name(queue)) as intake:
                yield RabbitSubscription(intake, prefetch)
    except BusUnavailableError:
        declarations.forget(queue)
        raise
