"""The worker's pulse: a thread with a loop and a connection of its own, so that a busy loop or pool cannot delay it.

It renews leases only while the worker's loop ticks; a worker that hangs loses what it holds.
"""

import asyncio
import os
import socket
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

import structlog
from kasal_contracts.executions import Status
from kasal_db import Database, db_now, open_database
from kasal_db.database import DatabaseUnavailableError
from pydantic import SecretStr
from sqlalchemy import delete, insert, tuple_, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from kasal_executor.tables import Execution, Worker

from .holdings import Hold, Holdings, Key, StopReason
from .settings import SCHEMA

TICK = timedelta(seconds=0.5)
# Parts of a lease: a loop that is silent for longer has hung; a child is killed that long before its lease ends.
WEDGED = 0.5
MARGIN = 0.15
# The pause after a beat that the database did not take.
AGAIN = timedelta(seconds=0.5)
# Tables that are not there yet are an outage, too.
_NO_ANSWER = (DatabaseUnavailableError, DBAPIError, TimeoutError)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Pulse:
    """How a worker presents itself, and how often."""

    worker_id: str
    database_url: SecretStr
    lease: timedelta
    beat: timedelta


class Heartbeat:
    """Belongs to the worker's loop and beats from a thread."""

    def __init__(self, pulse: Pulse, holdings: Holdings) -> None:
        self._pulse = pulse
        self._lease_s = pulse.lease.total_seconds()
        self._holdings = holdings
        self._worker_loop = asyncio.get_running_loop()
        self._ticked_at = monotonic()
        self._loop = asyncio.new_event_loop()
        self._early = asyncio.Event()
        self._closing = False

    @asynccontextmanager
    async def beating(self) -> AsyncGenerator[None]:
        """The first beat is made at once; the last one takes the worker off the list."""
        thread = threading.Thread(target=self._work, name="heartbeat", daemon=True)
        ticking = asyncio.create_task(self._tick(), name="ticks")
        thread.start()
        try:
            yield
        finally:
            self._closing = True
            self.beat_now()
            await asyncio.to_thread(thread.join)
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)

    def beat_now(self) -> None:
        """Do not wait for the next beat to tell the database what has changed."""
        self._loop.call_soon_threadsafe(self._early.set)

    async def _tick(self) -> None:
        while True:
            self._ticked_at = monotonic()
            await asyncio.sleep(TICK.total_seconds())

    def _work(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._run())
        finally:
            if not self._closing:
                self._worker_loop.call_soon_threadsafe(self._die)

    async def _run(self) -> None:
        url = self._pulse.database_url.get_secret_value()
        async with open_database(url, SCHEMA, pool_size=1) as database:
            while not self._closing:
                beaten = await self._beat(database)
                self._kill_expired()
                await self._rest(self._pulse.beat if beaten else AGAIN)
            await self._say_goodbye(database)

    async def _beat(self, database: Database) -> bool:
        if monotonic() - self._ticked_at > WEDGED * self._lease_s:
            log.error("worker_loop_hangs", silent_s=round(monotonic() - self._ticked_at, 1))
            return False
        held = list(self._holdings)
        asked_at = monotonic()
        try:
            async with asyncio.timeout(self._lease_s / 3), database.system() as session:
                cancelled = await self._renew(session, held)
                await self._present(session)
        except _NO_ANSWER as error:
            log.warning("heartbeat_missed", reason=str(error))
            return False
        for hold in held:
            if hold.claim.key in cancelled:
                hold.lease_ends = asked_at + self._lease_s
        self._worker_loop.call_soon_threadsafe(self._tell, held, cancelled)
        return True

    async def _renew(self, session: AsyncSession, held: Sequence[Hold]) -> dict[Key, bool]:
        """The leases that are still ours, each with whether its execution is to be cancelled."""
        if not held:
            return {}
        renewed = await session.execute(
            update(Execution)
            .where(
                Execution.worker_id == self._pulse.worker_id,
                Execution.status == Status.RUNNING,
                tuple_(Execution.id, Execution.attempt).in_([hold.claim.key for hold in held]),
            )
            .values(lease_until=db_now(self._pulse.lease), updated_at=Execution.updated_at)
            .returning(Execution.id, Execution.attempt, Execution.cancel_asked_at)
            .execution_options(synchronize_session=False)
        )
        return {(execution_id, attempt): asked is not None for execution_id, attempt, asked in renewed}

    async def _present(self, session: AsyncSession) -> None:
        seen = {
            "slots": self._holdings.slots,
            "running": self._holdings.running,
            "draining": self._holdings.draining,
            "beat_at": db_now(),
        }
        mine = update(Worker).where(Worker.id == self._pulse.worker_id).values(**seen).returning(Worker.id)
        if await session.scalar(mine) is None:
            new = {"id": self._pulse.worker_id, "host": socket.gethostname(), "pid": os.getpid()}
            await session.execute(insert(Worker).values(**new, **seen))

    async def _say_goodbye(self, database: Database) -> None:
        try:
            async with asyncio.timeout(self._lease_s / 3), database.system() as session:
                await session.execute(delete(Worker).where(Worker.id == self._pulse.worker_id))
        except _NO_ANSWER as error:
            log.warning("worker_left_silently", reason=str(error))

    def _tell(self, held: Sequence[Hold], cancelled: dict[Key, bool]) -> None:
        """On the worker's loop: what the database answered."""
        for hold in held:
            if hold.claim.key not in cancelled:
                self._holdings.lose(hold)
            elif cancelled[hold.claim.key]:
                hold.stop(StopReason.CANCEL)
        self._holdings.forget_old()

    def _die(self) -> None:
        """Without a pulse nothing may be held."""
        log.critical("heartbeat_died")
        self._holdings.draining = True
        for hold in self._holdings:
            hold.stop(StopReason.LEASE_LOST)

    def _kill_expired(self) -> None:
        """A child must be gone when its lease ends: somebody else may then run the same attempt's successor."""
        deadline = monotonic() + MARGIN * self._lease_s
        for hold in self._holdings:
            if hold.is_running and hold.lease_ends <= deadline and not hold.lost.is_set():
                log.error("lease_lost", execution_id=hold.claim.execution_id, attempt=hold.claim.attempt)
                if hold.kill is not None:
                    hold.kill()
                self._worker_loop.call_soon_threadsafe(hold.stop, StopReason.LEASE_LOST)

    async def _rest(self, pause: timedelta) -> None:
        soonest = min((hold.lease_ends for hold in self._holdings if hold.is_running), default=monotonic() + 3600)
        until_kill = soonest - MARGIN * self._lease_s - monotonic()
        self._early.clear()
        try:
            async with asyncio.timeout(max(min(pause.total_seconds(), until_kill), TICK.total_seconds() / 10)):
                await self._early.wait()
        except TimeoutError:
            return
