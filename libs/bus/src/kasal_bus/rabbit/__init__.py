"""The bus on RabbitMQ, 3.10 and later.

Three connections, each kept by a `Link`: durable sends with confirms, live messages without, and all that is received.
No part of it uses aio-pika's robust objects: whatever is lost is made anew from what its owner wants, in one place.
"""

from .bus import open_rabbit

__all__ = ["open_rabbit"]
