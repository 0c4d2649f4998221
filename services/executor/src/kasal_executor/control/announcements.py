"""Telling whoever listens now what has been committed. Best effort: who misses it reads the log."""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence

from kasal_bus import Bus
from kasal_bus.topology import LIVE, NUDGE_KEY, SIGNALS, group_key
from kasal_contracts.events import Event
from kasal_contracts.executions import Status
from kasal_contracts.messages import CancelAsked, LiveEvents, Nudge, StateChanged

from kasal_executor.tables import Execution

from .changes import Change

LARGEST_MESSAGE = 200_000


class Announcer:
    def __init__(self, bus: Bus, nudged: asyncio.Event) -> None:
        self._bus = bus
        self._nudged = nudged

    async def announce(self, changes: Collection[Change]) -> None:
        """Events to those who watch the execution, states to those who watch its group. Call it after the commit."""
        await asyncio.gather(*(self._announce(change) for change in changes if change.entries))
        if any(change.new_status is not None for change in changes):
            await self.nudge()

    async def submitted(self, execution: Execution, events: Sequence[Event]) -> None:
        await asyncio.gather(
            self.nudge(),
            self.events(execution.id, events),
            self.state(execution.id, execution.group_id, execution.status, events[-1]),
        )

    async def _announce(self, change: Change) -> None:
        row = change.row
        await self.events(row.id, change.events)
        if change.new_status is not None:
            await self.state(row.id, row.group_id, change.new_status, change.events[-1])

    async def events(self, execution_id: str, events: Iterable[Event]) -> None:
        for part in _parts(events):
            await self._bus.publish(LIVE, execution_id, LiveEvents(execution_id=execution_id, events=part))

    async def state(self, execution_id: str, group_id: str, status: Status, event: Event) -> None:
        changed = StateChanged(execution_id=execution_id, group_id=group_id, status=status, at=event.ts)
        await self._bus.publish(LIVE, group_key(group_id), changed)

    async def cancel_asked(self, execution_id: str, attempt: int) -> None:
        """Tells the worker that runs it not to wait for its next beat."""
        await self._bus.publish(SIGNALS, execution_id, CancelAsked(execution_id=execution_id, attempt=attempt))

    async def nudge(self) -> None:
        """Something may be due: tells the dispatcher in this process, and the one that leads elsewhere."""
        self._nudged.set()
        await self._bus.publish(SIGNALS, NUDGE_KEY, Nudge())


def _parts(events: Iterable[Event]) -> Iterator[list[Event]]:
    part: list[Event] = []
    size = 0
    for event in events:
        length = len(event.model_dump_json())
        if part and size + length > LARGEST_MESSAGE:
            yield part
            part, size = [], 0
        part.append(event)
        size += length
    if part:
        yield part
