"""What a bus can do. `rabbit` and `memory` implement it and pass one contract suite."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Protocol

from kasal_contracts.messages import Message

from .topology import DeadQueue, Queue, Topic

Batch = Sequence[Message]
Handler = Callable[[Batch], Awaitable[None]]
"""Handles messages in order. Returning acknowledges all of them; raising returns all of them to the queue."""


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
        """Listen to `key`. When this returns the broker has agreed: what is sent from now on arrives."""

    async def unbind(self, key: str) -> None: ...

    async def next(self, limit: timedelta) -> tuple[str, Message] | None:
        """The next `(key, message)`, or `None` after `limit`. Safe to cancel."""

    @property
    def generation(self) -> int:
        """Grows with every reconnect. After it grew, messages may have been missed: read the log again."""


class Bus(Protocol):
    """Durable work queues and live topics."""

    async def send(self, queue: Queue, message: Message) -> None:
        """Store `message` durably. Returns once the broker has confirmed it.

        Raises BusUnavailableError when there is no broker to confirm it within the send limit.
        """

    def consume(
        self, queue: Queue | DeadQueue, handler: Handler, *, batch: int = 1, gate: Gate | None = None
    ) -> AbstractAsyncContextManager[None]:
        """Hand messages to `handler`, one call at a time, up to `batch` of those that are there at once.

        After `handler` returned and the messages are acknowledged, nothing further is taken while `gate` is shut.
        """
        ...

    async def publish(self, topic: Topic, key: str, message: Message) -> None:
        """Tell whoever listens now. Best effort: with no broker the message is dropped and counted."""

    def listen(self, topic: Topic) -> AbstractAsyncContextManager[Feed]: ...

    async def check(self) -> None:
        """Raises BusUnavailableError while the broker does not answer; `/readyz` asks this."""


class BusUnavailableError(Exception):
    """The broker does not answer. Nothing was stored."""
