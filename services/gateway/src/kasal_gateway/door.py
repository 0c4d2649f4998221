"""Who comes in: every path under `/api/v1` needs a live token, and 401 comes before anything else."""

from dataclasses import dataclass

from kasal_contracts.errors import NotFoundError, UnauthenticatedError
from kasal_contracts.identity import Caller
from kasal_runtime.security import bearer_token
from kasal_runtime.tokens import TokenVerifier
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from .exchanges import Exchanges

API_PREFIX = "/api/"
OPEN = frozenset({"/api/v1/auth/login", "/api/v1/auth/refresh", "/api/v1/version"})
API_TOKEN_PREFIX = "ksl_"  # noqa: S105
# Browsers cannot set headers on an EventSource or a WebSocket, so these take a ticket from the query.
TICKET_ENDINGS = ("/stream", "/ws")


@dataclass(frozen=True)
class Admission:
    """`token` is the access token that travels on to the services, in the group that the caller chose."""

    token: str
    caller: Caller


class Door:
    """Wraps the routes. The admission of a request is in its scope's state under `admission`."""

    def __init__(self, app: ASGIApp, verifier: TokenVerifier, exchanges: Exchanges) -> None:
        self.app = app
        self.verifier = verifier
        self.exchanges = exchanges

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path.startswith(API_PREFIX) and path not in OPEN:
            scope.setdefault("state", {})["admission"] = await self._admit(HTTPConnection(scope))
        if not is_plain(path):
            raise NotFoundError("path", path)
        await self.app(scope, receive, send)

    async def _admit(self, connection: HTTPConnection) -> Admission:
        ticket = connection.query_params.get("ticket")
        if ticket and "authorization" not in connection.headers and connection.url.path.endswith(TICKET_ENDINGS):
            token = await self.exchanges.of_ticket(ticket)
            return Admission(token, await self.verifier.verify(token))
        token = bearer_token(connection)
        group_id = connection.headers.get("x-group-id") or None
        if token.startswith(API_TOKEN_PREFIX):
            return await self._exchanged(token, group_id)
        caller = await self.verifier.verify(token)
        if group_id is None or group_id == caller.group_id:
            return Admission(token, caller)
        return await self._exchanged(token, group_id)

    async def _exchanged(self, token: str, group_id: str | None) -> Admission:
        granted = await self.exchanges.of_token(token, group_id)
        try:
            return Admission(granted, await self.verifier.verify(granted))
        except UnauthenticatedError:
            # The role or the membership changed while the token was remembered: auth says what holds now.
            self.exchanges.forget(token, group_id)
            granted = await self.exchanges.of_token(token, group_id)
            return Admission(granted, await self.verifier.verify(granted))


def admission_of(connection: HTTPConnection) -> Admission:
    """Raises UnauthenticatedError when the door let the connection pass without asking."""
    admission = connection.scope.get("state", {}).get("admission")
    if not isinstance(admission, Admission):
        raise UnauthenticatedError
    return admission


def is_plain(path: str) -> bool:
    """Whether a decoded path means what it says: no empty and no dot segments, which another parser may resolve."""
    segments = path.removeprefix("/").removesuffix("/").split("/")
    return path == "/" or not any(segment in {"", ".", ".."} for segment in segments)
