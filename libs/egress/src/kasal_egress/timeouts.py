"""Time caps of one request."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Timeouts:
    """`total` spans every try, redirect and the whole body; `connect` includes the wait for a free connection.

    `idle` is the longest silence, which includes the wait for the first byte of the answer.
    """

    total: timedelta = timedelta(minutes=10)
    connect: timedelta = timedelta(seconds=10)
    idle: timedelta = timedelta(minutes=5)
