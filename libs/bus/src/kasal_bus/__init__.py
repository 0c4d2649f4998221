"""One bus, two implementations: `RabbitBus` for a cluster and `MemoryBus` inside one process."""

from .bus import Batch, Bus, Feed, Gate, Handler, OpenGate
from .topology import Queue, Topic

__all__ = ["Batch", "Bus", "Feed", "Gate", "Handler", "OpenGate", "Queue", "Topic"]
