"""How many model calls a minute a crew and each of its agents may make."""

import threading
import time
from collections import deque
from collections.abc import Mapping

from .stop import Stop

WINDOW_S = 60.0


class Pace:
    """A sliding window for the crew (key `None`) and one for each limited agent. Waiting ends at once on a stop."""

    def __init__(self, stop: Stop, limits: Mapping[str | None, int]) -> None:
        self._stop = stop
        self._limits = limits
        self._calls: dict[str | None, deque[float]] = {key: deque() for key in limits}
        self._lock = threading.Lock()

    def wait(self, agent: str | None) -> None:
        """Return when one more call of `agent` is allowed, and count it."""
        keys = [key for key in (None, agent) if key in self._limits]
        while keys:
            with self._lock:
                delay = max(self._delay(key) for key in keys)
                if delay <= 0:
                    for key in keys:
                        self._calls[key].append(time.monotonic())
                    return
            self._stop.wait(delay)

    def _delay(self, key: str | None) -> float:
        calls, now = self._calls[key], time.monotonic()
        while calls and calls[0] <= now - WINDOW_S:
            calls.popleft()
        return calls[0] + WINDOW_S - now if len(calls) >= self._limits[key] else 0
