"""Takes executions back from workers that fell silent, and forgets what is no longer of use."""

from datetime import timedelta
from time import monotonic

import structlog
from kasal_contracts.executions import Status
from kasal_db import Database, db_now
from sqlalchemy import delete

from kasal_executor.tables import Execution, IdempotencyKey, Worker

from .announcements import Announcer
from .storage import locked, save
from .submission import KEY_LIFE

AT_ONCE = 100
LONGEST_BLINK = timedelta(seconds=5)
WORKER_MEMORY = timedelta(hours=1)

log = structlog.get_logger(__name__)


class Watch:
    """How long the database has been seen without a break.

    After an outage every lease looks expired, although the workers are fine: they could not renew either.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._last = 0.0

    def saw(self) -> None:
        now = monotonic()
        if self._since is None or now - self._last > LONGEST_BLINK.total_seconds():
            self._since = now
        self._last = now

    def missed(self) -> None:
        self._since = None

    def lasted(self, span: timedelta) -> bool:
        return self._since is not None and monotonic() - self._since >= span.total_seconds()


class Reaper:
    def __init__(self, database: Database, announcer: Announcer, watch: Watch, lease: timedelta) -> None:
        self._database = database
        self._announcer = announcer
        self._watch = watch
        self._lease = lease

    async def reap(self) -> None:
        """One look. Raises DatabaseUnavailableError."""
        if not self._watch.lasted(self._lease):
            return
        lost = (Execution.status == Status.RUNNING) & (Execution.lease_until < db_now())
        async with self._database.system() as session:
            changes = await locked(session, lost, skip_locked=True, limit=AT_ONCE)
            for change in changes:
                log.warning(
                    "lease_lost",
                    execution_id=change.row.id,
                    attempt=change.row.attempt,
                    worker_id=change.row.worker_id,
                )
                change.lose()
            await save(session, changes)
        await self._announcer.announce(changes)

    async def forget(self) -> None:
        """Raises DatabaseUnavailableError."""
        async with self._database.system() as session:
            await session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < db_now(-KEY_LIFE)))
            await session.execute(delete(Worker).where(Worker.beat_at < db_now(-WORKER_MEMORY)))
