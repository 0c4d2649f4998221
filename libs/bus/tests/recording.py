"""What handlers do in tests: write down what they got, fail, wait."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

from kasal_bus.bus import Batch
from kasal_contracts.messages import ExecutionJob, Message

SOON = timedelta(seconds=5)
AT_ONCE = timedelta(milliseconds=50)


def job(number: int = 1) -> ExecutionJob:
    return ExecutionJob(execution_id=f"execution-{number}", attempt=1, group_id="group-1")


def jobs(count: int) -> list[ExecutionJob]:
    return [job(number) for number in range(1, count + 1)]


class Recorder:
    """A handler that remembers every call. `trouble` decides from a batch whether the call raises, and what."""

    def __init__(self, trouble: Callable[[Batch], Exception | None] = lambda _: None) -> None:
        self.calls: list[Sequence[Message]] = []
        self._trouble = trouble
        self._news = asyncio.Event()

    async def __call__(self, messages: Batch) -> None:
        self.calls.append(list(messages))
        self._news.set()
        error = self._trouble(messages)
        if error is not None:
            raise error

    @property
    def messages(self) -> list[Message]:
        return [message for call in self.calls for message in call]

    async def until(self, count: int) -> list[Message]:
        """The messages, once there are `count` of them."""
        async with asyncio.timeout(SOON.total_seconds()):
            while len(self.messages) < count:
                await self._next_call()
        return self.messages

    async def until_all(self, messages: Collection[Message]) -> None:
        """Waits for each of `messages`; there may be others, and some more than once."""
        async with asyncio.timeout(SOON.total_seconds()):
            while any(message not in self.messages for message in messages):
                await self._next_call()

    async def _next_call(self) -> None:
        self._news.clear()
        await self._news.wait()


class Stuck:
    """A handler that does not return before it is released."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.finished = 0
        self.running = 0
        self.most_running = 0

    async def __call__(self, _: Batch) -> None:
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        self.started.set()
        try:
            await self.release.wait()
            self.finished += 1
        finally:
            self.running -= 1


class Slots:
    """A gate with a number of free places; each handled message takes one."""

    def __init__(self, free: int) -> None:
        self._free = free
        self._freed = asyncio.Event()

    def take(self) -> None:
        self._free -= 1

    def free(self) -> None:
        self._free += 1
        self._freed.set()

    def is_open(self) -> bool:
        return self._free > 0

    async def opened(self) -> None:
        while not self.is_open():
            self._freed.clear()
            await self._freed.wait()
