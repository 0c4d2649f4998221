"""Who may call what. Authentication is a middleware, so a route without a declared right is closed, not open."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from kasal_contracts.errors import ForbiddenError, UnauthenticatedError
from kasal_contracts.identity import Caller, Role
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from .tokens import TokenVerifier

ALWAYS_OPEN = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json"})


class Authentication:
    """Verifies the bearer token of every request whose path is not open, before anything else is looked at.

    Which rights a route needs is declared at the route by `requires`, `SystemAdmin` or `FromService`.
    """

    def __init__(self, app: ASGIApp, verifier: TokenVerifier, open_paths: frozenset[str]) -> None:
        self.app = app
        self.verifier = verifier
        self.open_paths = open_paths | ALWAYS_OPEN

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self.open_paths:
            token = bearer_token(HTTPConnection(scope))
            scope.setdefault("state", {})["caller"] = await self.verifier.verify(token)
        await self.app(scope, receive, send)


def bearer_token(connection: HTTPConnection) -> str:
    """Raises UnauthenticatedError when there is none."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise UnauthenticatedError
    return token


# The dependencies below are coroutines without an await: FastAPI sends plain functions through its thread pool.
async def current_caller(request: Request) -> Caller:
    caller = getattr(request.state, "caller", None)
    if not isinstance(caller, Caller):
        raise UnauthenticatedError
    return caller


async def _user(caller: Annotated[Caller, Depends(current_caller)]) -> Caller:
    if caller.service is not None:
        raise ForbiddenError("a service token cannot be used here")
    return caller


def requires(role: Role) -> Callable[[Caller], Awaitable[Caller]]:
    """A dependency that lets in people with at least `role` in their active group."""

    async def check(caller: Annotated[Caller, Depends(_user)]) -> Caller:
        if not caller.role.contains(role):
            raise ForbiddenError(f"this needs the role {role} in the group; yours is {caller.role}")
        return caller

    return check


async def _system_admin(caller: Annotated[Caller, Depends(_user)]) -> Caller:
    if not caller.is_system_admin:
        raise ForbiddenError("this needs a system administrator")
    return caller


async def _service(caller: Annotated[Caller, Depends(current_caller)]) -> Caller:
    if caller.service is None:
        raise ForbiddenError("only services of Kasal may call this")
    return caller


Viewer = Annotated[Caller, Depends(requires(Role.VIEWER))]
Operator = Annotated[Caller, Depends(requires(Role.OPERATOR))]
Editor = Annotated[Caller, Depends(requires(Role.EDITOR))]
Admin = Annotated[Caller, Depends(requires(Role.ADMIN))]
SystemAdmin = Annotated[Caller, Depends(_system_admin)]
FromService = Annotated[Caller, Depends(_service)]
