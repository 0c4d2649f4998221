"""What a worker holds: its slots, and the attempts whose leases it renews."""

import asyncio
from collections.abc import Callable, Iterator
from enum import StrEnum
from time import monotonic

from .claims import Claim

Kill = Callable[[], None]
Key = tuple[str, int]

# How long the lease of an attempt is renewed after its outcome was sent, for the recorder to note the end.
AFTERLIFE_S = 60


class StopReason(StrEnum):
    CANCEL = "cancel"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CPU = "cpu"
    TOKENS = "tokens"
    COST = "cost"
    DRAIN = "drain"
    LEASE_LOST = "lease_lost"


class Hold:
    """One claimed attempt. It is held until the log shows its end, which is a moment after its child is gone.

    `lease_ends` is on this machine's monotonic clock, never later than in the database. `kill` ends the child at
    once and may be called from any thread; it is there while the child is.
    """

    def __init__(self, claim: Claim, lease_ends: float) -> None:
        self.claim = claim
        self.lease_ends = lease_ends
        self.ended_at: float | None = None
        self.reason: StopReason | None = None
        self.kill: Kill | None = None
        self.stopping = asyncio.Event()
        self.lost = asyncio.Event()

    @property
    def is_running(self) -> bool:
        return self.ended_at is None

    def stop(self, reason: StopReason) -> None:
        """The first reason stays, but for a lost lease, after which nothing of the attempt counts."""
        if reason is StopReason.LEASE_LOST:
            self.lost.set()
            self.reason = reason
        self.reason = self.reason or reason
        self.stopping.set()


class Holdings:
    """Also the gate of the worker's intake: it is open while a slot is free and the worker is not draining."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.draining = False
        self._held: dict[Key, Hold] = {}
        self._freed = asyncio.Event()
        self._emptied = asyncio.Event()

    def __iter__(self) -> Iterator[Hold]:
        return iter(list(self._held.values()))

    @property
    def running(self) -> int:
        return sum(hold.is_running for hold in self)

    def is_open(self) -> bool:
        return not self.draining and self.running < self.slots

    async def opened(self) -> None:
        while not self.is_open():
            self._freed.clear()
            await self._freed.wait()

    async def idle(self) -> None:
        """Wait until nothing runs."""
        while self.running:
            self._emptied.clear()
            await self._emptied.wait()

    def take(self, claim: Claim, lease_ends: float) -> Hold:
        hold = Hold(claim, lease_ends)
        self._held[claim.key] = hold
        return hold

    def find(self, key: Key) -> Hold | None:
        return self._held.get(key)

    def end(self, hold: Hold) -> None:
        """The slot is free again; the lease is renewed until the end is in the log."""
        hold.ended_at = monotonic()
        if hold.lost.is_set():
            self.forget(hold)
        self._freed.set()
        if not self.running:
            self._emptied.set()

    def lose(self, hold: Hold) -> None:
        """The row is not ours any more: its end was recorded, or the lease went to somebody else."""
        if hold.is_running:
            hold.stop(StopReason.LEASE_LOST)
        else:
            self.forget(hold)

    def forget(self, hold: Hold) -> None:
        self._held.pop(hold.claim.key, None)

    def forget_old(self) -> None:
        """Leave what was not recorded in time to the reaper."""
        for hold in self:
            if hold.ended_at is not None and monotonic() - hold.ended_at > AFTERLIFE_S:
                self.forget(hold)
