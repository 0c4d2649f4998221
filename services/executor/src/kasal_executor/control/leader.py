"""One control plane leads: it dispatches and reaps. The others wait until its row expires."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from time import monotonic

import structlog
from kasal_bus import Bus, BusUnavailableError, Feed
from kasal_bus.ending import ended
from kasal_bus.topology import NUDGE_KEY, SIGNALS
from kasal_contracts.ids import new_id
from kasal_db import Database, db_now
from kasal_db.database import DatabaseUnavailableError
from sqlalchemy import or_, update
from sqlalchemy.exc import ProgrammingError

from kasal_executor.settings import ControlSettings
from kasal_executor.tables import Leader

from .dispatcher import Dispatcher
from .reaper import Reaper, Watch

THE_ROW = 1
FORGET_EVERY = timedelta(minutes=10)
LONGEST_WAIT = timedelta(seconds=1)
LONGEST_TURN = timedelta(seconds=10)
LONGEST_SILENCE = timedelta(minutes=1)
FIRST_PAUSE = timedelta(milliseconds=200)
LONGEST_PAUSE = timedelta(seconds=5)
OUTAGES = (DatabaseUnavailableError, BusUnavailableError, ProgrammingError)
"""A statement that the database does not understand meets tables that are not migrated yet."""

log = structlog.get_logger(__name__)


class Leadership:
    """The row that says who leads, taken by compare-and-set on the database's clock."""

    def __init__(self, database: Database, lease: timedelta) -> None:
        self._database = database
        self._lease = lease
        self._me = new_id()
        self._until = 0.0
        self._ask_at = 0.0

    @property
    def is_held(self) -> bool:
        return monotonic() < self._until

    async def hold(self) -> bool:
        """Take or renew the lead when it is time to. Raises DatabaseUnavailableError."""
        asked = monotonic()
        if asked < self._ask_at:
            return self.is_held
        was_held = self.is_held
        async with self._database.system() as session:
            held = await session.scalar(
                update(Leader)
                .where(Leader.id == THE_ROW, or_(Leader.holder == self._me, Leader.until < db_now()))
                .values(holder=self._me, until=db_now(self._lease))
                .returning(Leader.id)
                .execution_options(synchronize_session=False)
            )
        self._until = asked + self._lease.total_seconds() if held else 0.0
        self._ask_at = asked + (self._lease / 3 if held else min(self._lease / 3, LONGEST_WAIT)).total_seconds()
        if self.is_held and not was_held:
            log.info("lead_taken", holder=self._me)
        return self.is_held

    async def release(self) -> None:
        """Lets another one lead at once. Raises DatabaseUnavailableError."""
        self._until = 0.0
        async with self._database.system() as session:
            await session.execute(
                update(Leader)
                .where(Leader.id == THE_ROW, Leader.holder == self._me)
                .values(until=db_now())
                .execution_options(synchronize_session=False)
            )


class Lead:
    """The loop of one replica. It outlives outages of the database and of the broker."""

    def __init__(
        self,
        settings: ControlSettings,
        leadership: Leadership,
        dispatcher: Dispatcher,
        reaper: Reaper,
        watch: Watch,
        nudged: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._leadership = leadership
        self._dispatcher = dispatcher
        self._reaper = reaper
        self._watch = watch
        self._nudged = nudged
        self._stopping = asyncio.Event()
        self._failures = 0
        self._reap_at = 0.0
        self._forget_at = 0.0

    def stop(self) -> None:
        """No further turn; the one in hand goes on to its end."""
        self._stopping.set()
        self._nudged.set()

    async def run(self) -> None:
        """Until stopped."""
        while not self._stopping.is_set():
            try:
                await self._turn()
            except OUTAGES as error:
                await self._stumble(error)
            else:
                self._failures = 0
                await self._rest()

    async def _turn(self) -> None:
        leads = await self._leadership.hold()
        self._watch.saw()
        if not leads:
            return
        await self._dispatcher.dispatch()
        now = monotonic()
        if now >= self._reap_at:
            self._reap_at = now + self._settings.tick.total_seconds()
            await self._reaper.reap()
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY.total_seconds()
            await self._reaper.forget()

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.tick.total_seconds()):
                await self._nudged.wait()
        self._nudged.clear()

    async def _stumble(self, error: Exception) -> None:
        if isinstance(error, DatabaseUnavailableError):
            self._watch.missed()
        if not self._failures:
            log.warning("dispatch_waits", reason=str(error.__cause__ or error))
        pause = min(FIRST_PAUSE * 2**self._failures, LONGEST_PAUSE)
        self._failures = min(self._failures + 1, 10)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause.total_seconds()):
                await self._stopping.wait()


async def hear_nudges(bus: Bus, nudged: asyncio.Event) -> None:
    """Until cancelled: wakes the loop for what other processes have found due."""
    async with bus.listen(SIGNALS) as feed:
        await _bind(feed)
        while True:
            await feed.next(LONGEST_SILENCE)
            nudged.set()


async def _bind(feed: Feed) -> None:
    """However long the broker takes to come."""
    while True:
        try:
            return await feed.bind(NUDGE_KEY)
        except BusUnavailableError:
            await asyncio.sleep(LONGEST_WAIT.total_seconds())


@asynccontextmanager
async def leading(lead: Lead, leadership: Leadership, bus: Bus, nudged: asyncio.Event) -> AsyncGenerator[None]:
    """Runs the loop for as long as the context is open, then lets another replica lead at once."""
    running = asyncio.create_task(lead.run(), name="lead")
    hearing = asyncio.create_task(hear_nudges(bus, nudged), name="nudges")
    try:
        yield
    finally:
        lead.stop()
        await asyncio.wait([running], timeout=LONGEST_TURN.total_seconds())
        await asyncio.gather(ended(running), ended(hearing))
        with suppress(*OUTAGES):
            await leadership.release()
