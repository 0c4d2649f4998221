"""From the queue to a running attempt: claim, acknowledge, and start the work."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

import structlog
from kasal_bus import Batch, Bus, RetryLater
from kasal_contracts.messages import ExecutionJob
from kasal_db import Database
from kasal_db.database import DatabaseUnavailableError

from .claims import claim
from .holdings import Hold, Holdings

OUTAGE_PAUSE = timedelta(seconds=1)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Intake:
    """The handler of `topology.EXECUTIONS`; its gate is `holdings`. `begin` starts an attempt and returns at once."""

    database: Database
    bus: Bus
    holdings: Holdings
    worker_id: str
    lease: timedelta
    begin: Callable[[Hold], None]

    async def take(self, jobs: Batch) -> None:
        """Raises RetryLater while the database is away."""
        for job in jobs:
            if not isinstance(job, ExecutionJob):
                raise TypeError(f"a {job.type} is no job")
            await self._take(job)

    async def _take(self, job: ExecutionJob) -> None:
        asked_at = monotonic()
        try:
            claimed = await claim(self.database, self.bus, job, self.worker_id, self.lease)
        except DatabaseUnavailableError:
            raise RetryLater(OUTAGE_PAUSE) from None
        if claimed is None:
            log.info("job_stale", execution_id=job.execution_id, attempt=job.attempt)
            return
        log.info("attempt_claimed", execution_id=claimed.execution_id, attempt=claimed.attempt)
        self.begin(self.holdings.take(claimed, asked_at + self.lease.total_seconds()))
