"""Wishes to cancel, heard at once; the heartbeat finds those that were missed."""

from datetime import timedelta

import structlog
from kasal_bus import BusUnavailableError, Feed
from kasal_contracts.messages import CancelAsked

from .holdings import Hold, Holdings, StopReason

SILENCE = timedelta(seconds=60)

log = structlog.get_logger(__name__)


class Cancels:
    """One ear of the worker, for the executions that it holds."""

    def __init__(self, feed: Feed, holdings: Holdings) -> None:
        self._feed = feed
        self._holdings = holdings

    async def follow(self) -> None:
        """Runs until cancelled."""
        while True:
            heard = await self._feed.next(SILENCE)
            if heard is not None and isinstance(heard[1], CancelAsked):
                self._stop(heard[1])

    async def watch(self, hold: Hold) -> None:
        try:
            await self._feed.bind(hold.claim.execution_id)
        except BusUnavailableError:
            log.warning("cancel_signal_deaf", execution_id=hold.claim.execution_id)

    async def unwatch(self, hold: Hold) -> None:
        try:
            await self._feed.unbind(hold.claim.execution_id)
        except BusUnavailableError:
            log.warning("cancel_signal_bound", execution_id=hold.claim.execution_id)

    def _stop(self, asked: CancelAsked) -> None:
        hold = self._holdings.find((asked.execution_id, asked.attempt))
        if hold is not None:
            hold.stop(StopReason.CANCEL)
