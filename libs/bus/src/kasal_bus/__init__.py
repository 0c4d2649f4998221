"""The bus of Kasal: durable work queues and live topics behind one small interface.

    async with open_rabbit("amqp://…") as bus:          # or open_memory(), inside one process
        async with bus.consume(EXECUTIONS, claim, gate=free_slot):
            await bus.send(EXECUTIONS, ExecutionJob(...))

*Queues* keep messages until a handler has returned. Delivery is at least once, so handlers are idempotent. A handler
that raises returns its messages to the queue; a message that was tried `delivery_limit` times, or that nobody can
read, is parked in the queue's dead queue and stays there. A handler that raises `RetryLater` keeps its messages and
is called again: a database outage pauses a consumer and costs no tries.

*Topics* tell whoever listens now and store nothing. A `Feed` whose `generation` grew has missed messages, and its
owner reads the log again.

Which queues and topics there are is in `topology`, what they carry in `kasal_contracts.messages`. `rabbit` and
`memory` implement `Bus` and pass one contract suite; `consumer` is the loop that both of them share.
"""

from .bus import Batch, Bus, BusUnavailableError, Feed, Gate, Handler, OpenGate, RetryLater
from .codec import MAX_MESSAGE_BYTES, MessageTooLargeError
from .memory import open_memory
from .rabbit import open_rabbit
from .topology import DeadQueue, Queue, Topic

__all__ = [
    "MAX_MESSAGE_BYTES",
    "Batch",
    "Bus",
    "BusUnavailableError",
    "DeadQueue",
    "Feed",
    "Gate",
    "Handler",
    "MessageTooLargeError",
    "OpenGate",
    "Queue",
    "RetryLater",
    "Topic",
    "open_memory",
    "open_rabbit",
]
