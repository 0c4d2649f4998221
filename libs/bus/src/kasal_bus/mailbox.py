"""What a feed has heard and nobody has taken yet."""

import asyncio
from collections import deque
from datetime import timedelta

from kasal_contracts.messages import Message

MAILBOX_SIZE = 10_000


class Mailbox:
    """Keeps the newest messages. `generation` grows when some were missed, and wakes who waits."""

    def __init__(self, size: int = MAILBOX_SIZE) -> None:
        self.generation = 0
        self._letters: deque[tuple[str, Message]] = deque()
        self._size = size
        self._missed = False
        self._news = asyncio.Event()

    def put(self, key: str, message: Message) -> None:
        if len(self._letters) >= self._size:
            self._letters.popleft()
            self.missed()
        self._letters.append((key, message))
        self._news.set()

    def missed(self) -> None:
        self.generation += 1
        self._missed = True
        self._news.set()

    async def next(self, limit: timedelta) -> tuple[str, Message] | None:
        if not self._letters and not self._missed:
            self._news.clear()
            try:
                async with asyncio.timeout(limit.total_seconds()):
                    await self._news.wait()
            except TimeoutError:
                return None
        if self._letters:
            return self._letters.popleft()
        self._missed = False
        return None
