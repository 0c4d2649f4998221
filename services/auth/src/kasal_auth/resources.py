"""What the routes of this service share, and the transaction of one request."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from kasal_contracts.errors import ConflictError
from kasal_contracts.identity import Caller
from kasal_db import Database, Keyring
from kasal_db.tenancy import Base
from kasal_runtime.security import current_caller
from kasal_runtime.service import Host
from pydantic import SecretStr
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from .access_tokens import AccessTokens
from .passwords import Passwords
from .settings import AuthSettings
from .signing import Signer


@dataclass(frozen=True)
class Resources:
    settings: AuthSettings
    host: Host
    database: Database
    keyring: Keyring
    passwords: Passwords
    signer: Signer
    tokens: AccessTokens
    bootstrap_key: SecretStr


# Coroutines without an await: FastAPI sends plain functions through its thread pool.
async def _resources(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources


Shared = Annotated[Resources, Depends(_resources)]
Me = Annotated[Caller, Depends(current_caller)]


async def _transaction(resources: Shared, me: Me) -> AsyncGenerator[AsyncSession]:
    async with resources.database.tenant(me) as session:
        yield session


async def _reading(resources: Shared, me: Me) -> AsyncGenerator[AsyncSession]:
    async with resources.database.tenant(me, read_only=True) as session:
        yield session


# Scope "function": the commit comes before the answer, so that a client never reads less than it was told.
Writing = Annotated[AsyncSession, Depends(_transaction, scope="function")]
Reading = Annotated[AsyncSession, Depends(_reading, scope="function")]


async def store(session: AsyncSession, row: Base, taken: str) -> None:
    """Write `row` and read back what the database filled in. Raises ConflictError(`taken`) where it is not unique."""
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        raise ConflictError(taken) from error
    await session.refresh(row)
