"""Auth turns what a client may show — a token and a group, an API token, a ticket — into an access token."""

import time
from collections import OrderedDict
from datetime import timedelta

from kasal_contracts.credentials import ExchangeIn, ExchangeOut
from kasal_runtime.peers import Peer
from kasal_runtime.tokens import ServiceTokens

CACHE_SIZE = 4096


class Exchanges:
    """Remembers the access token of a `(token, group_id)` for `max_age`; a ticket is good once and not remembered."""

    def __init__(self, auth: Peer, service_tokens: ServiceTokens, max_age: timedelta) -> None:
        self._auth = auth
        self._service_tokens = service_tokens
        self._max_age_s = max_age.total_seconds()
        self._held: OrderedDict[tuple[str, str | None], tuple[str, float]] = OrderedDict()

    async def of_ticket(self, ticket: str) -> str:
        """Raises PeerRefusedError with 401 when the ticket was used or is too old."""
        answer = await self._ask(ExchangeIn(ticket=ticket))
        return answer.access_token

    async def of_token(self, token: str, group_id: str | None) -> str:
        """Raises PeerRefusedError: 401 for a dead token, 404 when its owner is not in the group."""
        held = self._held.get((token, group_id))
        if held is not None and held[1] > time.monotonic():
            return held[0]
        answer = await self._ask(ExchangeIn(token=token, group_id=group_id))
        until = time.monotonic() + min(self._max_age_s, answer.expires_in)
        self._held[token, group_id] = (answer.access_token, until)
        while len(self._held) > CACHE_SIZE:
            self._held.popitem(last=False)
        return answer.access_token

    def forget(self, token: str, group_id: str | None) -> None:
        self._held.pop((token, group_id), None)

    async def _ask(self, shown: ExchangeIn) -> ExchangeOut:
        token = await self._service_tokens.get("auth")
        return await self._auth.call("POST", "/internal/exchange", ExchangeOut, token=token, body=shown)
