"""Every queue and exchange there is, as values. Nothing else declares one.

Names carry a version: declaring a queue with other arguments fails, so changed arguments mean a new name.
"""

from dataclasses import dataclass
from zlib import crc32

EVENT_SHARDS = 4


@dataclass(frozen=True)
class Queue:
    """A durable work queue with a dead queue beside it.

    `delivery_limit` is how often a message is tried before it is parked in the dead queue. With `single_active`
    one consumer at a time receives, so that order holds.
    """

    name: str
    delivery_limit: int = 20
    single_active: bool = False

    @property
    def dead(self) -> "DeadQueue":
        return DeadQueue(f"{self.name}.dead")


@dataclass(frozen=True)
class DeadQueue:
    """Where messages of a queue end that could not be handled. Kept until somebody looks."""

    name: str


@dataclass(frozen=True)
class Topic:
    """A live feed by routing key: nothing is stored, who does not listen misses it."""

    name: str


EXECUTIONS = Queue("kasal.executions.v1")
EVENTS = tuple(Queue(f"kasal.events.v1.{shard}", single_active=True) for shard in range(EVENT_SHARDS))
WORK_QUEUES = (EXECUTIONS, *EVENTS)

LIVE = Topic("kasal.live.v1")
"""Events of an execution under its id; state changes of a group under `group.<id>`."""
SIGNALS = Topic("kasal.signals.v1")
"""Between our own processes: `nudge` for the dispatcher, an execution's id for the worker that holds it."""
TOPICS = (LIVE, SIGNALS)

NUDGE_KEY = "nudge"


def event_queue(execution_id: str) -> Queue:
    """The shard that holds every event of one execution, so that their order holds."""
    return EVENTS[crc32(execution_id.encode()) % EVENT_SHARDS]


def group_key(group_id: str) -> str:
    return f"group.{group_id}"
