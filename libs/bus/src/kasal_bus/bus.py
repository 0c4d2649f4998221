"""What a bus can do. `rabbit` and `memory` implement it and pass one contract suite."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Protocol

from kasal_contracts.messages import Message

from .topology import DeadQueue, Queue, Topic

Batch = Sequence[Message]
Handler = Callable[[Batch], Awaitable[None]]
"""Handles messages in order. Returning acknowledges all of them; raising returns all of them to the queue.

Raising `RetryLater` does neither: the consumer keeps them and calls the handler again.
"""


class Gate(Protocol):
    """Says whether a consumer may take more. A consumer whose gate is shut holds no delivery."""

    def is_open(self) -> bool: ...

    async def opened(self) -> None:
        """Wait until the gate is open."""


class OpenGate:
    """A gate that never shuts."""

    def is_open(self) -> bool:
        return True

    async def opened(self) -> None:
        return None


class Feed(Protocol):
    """One process's ear on a topic. Bind the keys of interest; take what arrives."""

    async def bind(self, key: str) -> None:
        """Listen to `key`. When this returns the broker has agreed: what is sent from now on arrives.

        Raises BusUnavailableError when the broker does not agree within a few seconds.
        """

    async def unbind(self, key: str) -> None: ...

    async def next(self, limit: timedelta) -> tuple[str, Message] | None:
        """The next `(key, message)`, or `None` after `limit` or when `generation` grew. Safe to cancel."""

    @property
    def generation(self) -> int:
        """Grows with every reconnect and overflow. After it grew, messages may be missing: read the log again."""


class Bus(Protocol):
    """Durable work queues and live topics."""

    async def send(self, queue: Queue, message: Message) -> None:
        """Store `message` durably. Returns once the broker has confirmed it.

        Raises BusUnavailableError when no broker confirms it within the send limit, and MessageTooLargeError.
        """

    def consume(
        self, queue: Queue | DeadQueue, handler: Handler, *, batch: int = 1, gate: Gate | None = None
    ) -> AbstractAsyncContextManager[None]:
        """Hand messages to `handler`, one call at a time, up to `batch` of those that are there at once.

        After `handler` returned and the messages are acknowledged, nothing further is taken while `gate` is shut.
        Leaving the context waits for the call in flight, for some seconds, and returns what was not handled.
        """
        ...

    async def publish(self, topic: Topic, key: str, message: Message) -> None:
        """Tell whoever listens now. Best effort: with no broker the message is dropped and counted."""

    def listen(self, topic: Topic) -> AbstractAsyncContextManager[Feed]: ...

    async def check(self) -> None:
        """Raises BusUnavailableError while the broker does not answer; `/readyz` asks this."""


class BusUnavailableError(Exception):
    """The broker does not answer. What was to be sent may or may not be stored: sending it again is right."""


class RetryLater(Exception):  # noqa: N818
    """Raised by a handler that cannot work now: it is called again with the same messages after `after`.

    The messages stay with this consumer and no try is counted, unless it closes or loses the broker meanwhile, or
    holds them for longer than RabbitMQ's `consumer_timeout` (30 minutes): then they come again, one try used up.
    """

    def __init__(self, after: timedelta) -> None:
        super().__init__(f"again in {after}")
        self.after = after
