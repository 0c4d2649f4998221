"""The worker's pulse: a thread with a loop and a connection of its own, so that neither a busy loop nor a full pool
delays it. It renews leases only while the worker's loop ticks; a worker that hangs loses what it holds."""

import asyncio
import os
import socket
import threading
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

import structlog
from kasal_contracts.executions import Status
from kasal_db import Database, db_now, open_database
from kasal_db.database import DatabaseUnavailableError
from sqlalchemy import delete, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from ..tables import Execution, Worker
from .holdings import Hold, Holdings, StopReason

TICK = timedelta(seconds=0.5)
# Time that a child is given to be gone before its lease ends, in parts of the lease.
MARGIN = 0.15
# How long the lease of an attempt is renewed after its outcome was sent, for the recorder to note its end.
AFTERLIFE = timedelta(minutes=1)

Key = tuple[str, int]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Renewed:
    """Leases that are ours until `lease_ends`, and whether their executions are to be cancelled."""

    lease_ends: float
    cancelled: dict[Key, bool]


class Heartbeat:
    """Runs on the worker's loop and beats from a thread. `beat_now` makes a beat come early."""

    def __init__(self, url: str, worker_id: str, holdings: Holdings, lease: timedelta, beat: timedelta) -> None:
        self._url = url
        self._worker_id = worker_id
        self._holdings = holdings
        self._lease = lease
        self._beat = beat
        self._ticked_at = monotonic()
        self._worker_loop = asyncio.get_running_loop()
        self._closing = threading.Event()
        self._early = threading.Event()

    @asynccontextmanager
    async def beating(self) -> AsyncGenerator[None]:
        thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="heartbeat", daemon=True)
        ticking = asyncio.create_task(self._tick(), name="ticks")
        thread.start()
        try:
            yield
        finally:
            ticking.cancel()
            self._closing.set()
            self._early.set()
            await asyncio.to_thread(thread.join)

    def beat_now(self) -> None:
        self._early.set()

    async def _tick(self) -> None:
        while True:
            self._ticked_at = monotonic()
            await asyncio.sleep(TICK.total_seconds())
