"""One attempt, from its claim to its outcome: the child works, and however it ends it is gone afterwards."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import TypeVar

import structlog
from kasal_bus import Bus
from kasal_contracts.executions import ChildJob, ChildOutcome, ResourceUsage, Status

from .broker import Broker
from .child_process import ChildExit, ChildProcess
from .claims import Claim
from .event_stream import EventStream
from .holdings import Hold, Kill, StopReason
from .outcomes import Ending, Progress, outcome_of
from .zygote import Zygote

LIMIT_CHECK = timedelta(seconds=0.25)
# The part of the grace that a child has; the rest is for recording its end.
PATIENCE = 0.8

log = structlog.get_logger(__name__)
Value = TypeVar("Value")


@dataclass(frozen=True)
class Attempts:
    """What every attempt of a worker shares."""

    bus: Bus
    zygote: Zygote
    broker: Broker

    async def run(self, hold: Hold) -> bool:
        """Run the attempt to its end. Whether the recorder was told: not so when it was lost or is to be handed back.

        Raises TimeoutError when no child could be had.
        """
        claim = hold.claim
        stream = EventStream(self.bus, claim.execution_id, claim.attempt)
        progress = Progress(claim.snapshot.crew)
        async with stream.sending():
            started = monotonic()
            ending = await self._child(hold, stream, progress)
            resources = ResourceUsage(
                wall_s=round(monotonic() - started, 3),
                cpu_s=ending.exit.cpu_s,
                max_rss_mb=ending.exit.max_private_mib,
            )
            log.info("attempt_ended", execution_id=claim.execution_id, attempt=claim.attempt, exit=str(ending.exit))
            outcome = outcome_of(ending, progress, claim.limits, last_seq=stream.last_seq, resources=resources)
            is_handed_back = hold.reason is StopReason.DRAIN and outcome.status is not Status.SUCCEEDED
            if is_handed_back or hold.lost.is_set():
                return False
            return bool(await _unless_lost(hold, stream.end(outcome)))

    async def _child(self, hold: Hold, stream: EventStream, progress: Progress) -> Ending:
        with self.broker.admitted(hold.claim) as token:
            async with await self.zygote.spawn(_job(hold.claim, self.broker, token)) as child:
                hold.kill = _killing(child)
                try:
                    said, exit_ = await _supervised(hold, child, stream, progress)
                finally:
                    hold.kill = None
        return Ending(said, exit_, hold.reason)


def _job(claim: Claim, broker: Broker, token: str) -> ChildJob:
    return ChildJob(
        execution_id=claim.execution_id,
        group_id=claim.group_id,
        attempt=claim.attempt,
        snapshot=claim.snapshot,
        inputs=claim.inputs,
        limits=claim.limits,
        trace_id=claim.trace_id,
        egress_socket=str(broker.path),
        egress_token=token,
    )


async def _supervised(
    hold: Hold, child: ChildProcess, stream: EventStream, progress: Progress
) -> tuple[ChildOutcome | None, ChildExit]:
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(_watch_limits(hold, child))
        reading = tasks.create_task(_unless_lost(hold, _read(hold, child, stream, progress)))
        exiting = tasks.create_task(child.wait())
        if not await _first_of(exiting, hold.stopping, timeout_s=hold.claim.limits.timeout_s):
            hold.stop(StopReason.TIMEOUT)
        if not exiting.done():
            await _stop(hold, child)
        await exiting
        watching.cancel()
    return reading.result(), exiting.result()


async def _read(hold: Hold, child: ChildProcess, stream: EventStream, progress: Progress) -> ChildOutcome | None:
    """Everything that the child says, to the end; its outcome where it had time for one."""
    said = None
    while (message := await child.next()) is not None:
        if isinstance(message, ChildOutcome):
            said = message
        else:
            progress.note(message)
            await stream.put(message)
            if (over := progress.spent_over(hold.claim.limits)) is not None:
                hold.stop(over)
    return said


async def _watch_limits(hold: Hold, child: ChildProcess) -> None:
    limits = hold.claim.limits
    while limits.memory_mb is not None or limits.cpu_s is not None:
        await asyncio.sleep(LIMIT_CHECK.total_seconds())
        spent = child.spent()
        if limits.memory_mb is not None and spent.max_mib > limits.memory_mb:
            return hold.stop(StopReason.MEMORY)
        if limits.cpu_s is not None and spent.cpu_s > limits.cpu_s:
            return hold.stop(StopReason.CPU)
    return None


async def _stop(hold: Hold, child: ChildProcess) -> None:
    """Ask, SIGTERM, and SIGKILL early enough for the end to be known within the grace; at once for a lost lease."""
    log.info("attempt_stopping", execution_id=hold.claim.execution_id, reason=hold.reason)
    grace = timedelta(seconds=hold.claim.limits.grace_s * PATIENCE)
    await _unless_lost(hold, child.terminate(grace))
    await child.terminate(timedelta(0))


async def _unless_lost(hold: Hold, work: Coroutine[None, None, Value]) -> Value | None:
    """What `work` returns; `None` when the lease is lost before, and `work` is then cancelled."""
    working = asyncio.create_task(work)
    try:
        await _first_of(working, hold.lost)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def _first_of(task: asyncio.Task[Value], event: asyncio.Event, *, timeout_s: float | None = None) -> bool:
    """Whether `task` was done or `event` set in time; neither is touched."""
    waiting = asyncio.create_task(event.wait())
    try:
        done, _ = await asyncio.wait({task, waiting}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


def _killing(child: ChildProcess) -> Kill:
    def kill() -> None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)

    return kill
