"""Which keys a caller's group holds, by name alone. Auth knows; its answer is remembered for a moment."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field

import structlog
from kasal_contracts.credentials import AvailableCredentials
from kasal_contracts.errors import KasalError
from kasal_contracts.identity import Caller
from kasal_runtime.peers import Peer

REMEMBERED_S = 5.0
REMEMBERED_CALLERS = 1000
ANSWER_WITHIN_S = 2.0

log = structlog.get_logger(__name__)


@dataclass
class Credentials:
    """Auth's answers by group and user."""

    auth: Peer
    _held: OrderedDict[tuple[str, str], tuple[frozenset[str] | None, float]] = field(default_factory=OrderedDict)

    async def held_by(self, me: Caller, token: str) -> frozenset[str] | None:
        """Names of the keys that executions of `me` may use; None while auth does not say."""
        who = (me.group_id, me.user_id)
        remembered = self._held.get(who)
        if remembered is not None and remembered[1] > time.monotonic():
            return remembered[0]
        names = await self._ask(token)
        self._held[who] = (names, time.monotonic() + REMEMBERED_S)
        self._held.move_to_end(who)
        while len(self._held) > REMEMBERED_CALLERS:
            self._held.popitem(last=False)
        return names

    async def _ask(self, token: str) -> frozenset[str] | None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                answer = await self.auth.call(
                    "GET", "/internal/credentials/available", AvailableCredentials, token=token
                )
        except (KasalError, TimeoutError) as error:
            log.warning("credentials_unknown", reason=str(error))
            return None
        return frozenset(item.name for item in answer.items)
