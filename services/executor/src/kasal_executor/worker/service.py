"""A worker: takes executions from the queue while it has free slots, and runs each in a process of its own."""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from kasal_bus import Bus
from kasal_bus.topology import EXECUTIONS, NUDGE_KEY, SIGNALS
from kasal_contracts.errors import UnavailableError
from kasal_contracts.ids import new_id
from kasal_contracts.messages import Nudge
from kasal_db import Database, open_database
from kasal_db.database import DatabaseUnavailableError
from kasal_runtime.service import Host

from .attempts import Attempts
from .broker import open_broker
from .cancels import Cancels
from .claims import give_back
from .heartbeat import Heartbeat, Pulse
from .holdings import Hold, Holdings, StopReason
from .intake import Intake
from .settings import SCHEMA, WorkerSettings
from .zygote import Zygote, open_zygote

log = structlog.get_logger(__name__)


class WorkerColdError(UnavailableError):
    def __init__(self) -> None:
        super().__init__("the worker is loading CrewAI")


class Worker:
    """A running worker. `check` is for `/readyz`."""

    def __init__(
        self, id_: str, database: Database, bus: Bus, holdings: Holdings, attempts: Attempts, cancels: Cancels
    ) -> None:
        self.id = id_
        self.holdings = holdings
        self._database = database
        self._bus = bus
        self._attempts = attempts
        self._cancels = cancels
        self._tasks: set[asyncio.Task[None]] = set()

    async def check(self) -> None:
        """Raises WorkerColdError until the first child can be made."""
        if not self._attempts.zygote.is_ready:
            raise WorkerColdError

    async def wait_ready(self) -> None:
        await self._attempts.zygote.wait_ready()

    def begin(self, hold: Hold) -> None:
        task = asyncio.create_task(self._attend(hold), name=f"attempt {hold.claim.execution_id}")
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def drain(self, patience_s: float) -> None:
        """Let attempts end within `patience_s`, then stop those that did not and hand them back."""
        try:
            async with asyncio.timeout(patience_s):
                await self.holdings.idle()
        except TimeoutError:
            log.info("worker_hands_back", executions=self.holdings.running)
        for hold in self.holdings:
            if hold.is_running:
                hold.stop(StopReason.DRAIN)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _attend(self, hold: Hold) -> None:
        watching = asyncio.create_task(self._cancels.watch(hold))
        told = False
        try:
            told = await self._attempts.run(hold)
        finally:
            if not told:
                # Unless it is handed back, its lease runs out, and the reaper has the next word.
                self.holdings.forget(hold)
            if hold.reason is StopReason.DRAIN and not told:
                await self._hand_back(hold)
            self.holdings.end(hold)
            await watching
            await self._cancels.unwatch(hold)
            await self._bus.publish(SIGNALS, NUDGE_KEY, Nudge())

    async def _hand_back(self, hold: Hold) -> None:
        try:
            await give_back(self._database, self._bus, hold.claim, self.id)
        except DatabaseUnavailableError:
            log.warning("attempt_left_to_the_reaper", execution_id=hold.claim.execution_id)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("attempt_broke", attempt=task.get_name(), exc_info=task.exception())


@asynccontextmanager
async def open_worker(settings: WorkerSettings, host: Host) -> AsyncGenerator[Worker]:
    """Works until the context closes; what is under way then gets a while to end and is handed back after it.

    The context is open before the worker is warm: `wait_ready` waits for that.
    """
    worker_id = f"{socket.gethostname()[:40]}-{os.getpid()}-{new_id()[-8:]}"
    holdings = Holdings(settings.slots)
    pulse = Pulse(worker_id, settings.database_url, settings.lease, settings.beat)
    async with AsyncExitStack() as stack:
        url = settings.database_url.get_secret_value()
        database = await stack.enter_async_context(open_database(url, SCHEMA))
        zygote = await stack.enter_async_context(open_zygote(spares=settings.spares))
        broker = await stack.enter_async_context(open_broker(settings, host))
        cancels = Cancels(await stack.enter_async_context(host.bus.listen(SIGNALS)), holdings)
        worker = Worker(worker_id, database, host.bus, holdings, Attempts(host.bus, zygote, broker), cancels)
        await stack.enter_async_context(Heartbeat(pulse, holdings).beating())
        await stack.enter_async_context(_running(cancels.follow(), "cancels"))
        intake = Intake(database, host.bus, holdings, worker_id, settings.lease, worker.begin)
        await stack.enter_async_context(_running(_take(intake, zygote), "intake"))
        log.info("worker_started", worker_id=worker_id, slots=settings.slots)
        try:
            yield worker
        finally:
            holdings.draining = True
            await worker.drain(settings.drain.total_seconds())


async def _take(intake: Intake, zygote: Zygote) -> None:
    """Nothing is taken before the worker is warm: another one may be."""
    await zygote.wait_ready()
    async with intake.bus.consume(EXECUTIONS, intake.take, gate=intake.holdings):
        await asyncio.Event().wait()


@asynccontextmanager
async def _running(work: Coroutine[None, None, None], name: str) -> AsyncGenerator[None]:
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
