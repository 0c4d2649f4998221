"""What routes ask for: the caller's transaction and the keys that the caller's group holds."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from kasal_contracts.identity import Caller
from kasal_db import Database
from kasal_runtime.security import bearer_token, current_caller
from sqlalchemy.ext.asyncio import AsyncSession

from .catalogue import Catalogue
from .credentials import Credentials
from .providers import Addresses


@dataclass(frozen=True)
class Resources:
    """What the service has opened."""

    database: Database
    catalogue: Catalogue
    credentials: Credentials
    addresses: Addresses


# Coroutines without an await: FastAPI sends plain functions through its thread pool.
async def _resources(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources


Opened = Annotated[Resources, Depends(_resources)]
Me = Annotated[Caller, Depends(current_caller)]


async def _reading(opened: Opened, me: Me) -> AsyncGenerator[AsyncSession]:
    await opened.catalogue.give(me)
    async with opened.database.tenant(me, read_only=True) as session:
        yield session


async def _writing(opened: Opened, me: Me) -> AsyncGenerator[AsyncSession]:
    await opened.catalogue.give(me)
    async with opened.database.tenant(me) as session:
        yield session


async def _held_keys(request: Request, opened: Opened, me: Me) -> frozenset[str] | None:
    return await opened.credentials.held_by(me, bearer_token(request))


async def _addresses(opened: Opened) -> Addresses:
    return opened.addresses


# The scope commits before the answer leaves. Ask for `HeldKeys` before a session: no transaction waits for auth.
Reading = Annotated[AsyncSession, Depends(_reading, scope="function")]
Writing = Annotated[AsyncSession, Depends(_writing, scope="function")]
HeldKeys = Annotated[frozenset[str] | None, Depends(_held_keys)]
KnownAddresses = Annotated[Addresses, Depends(_addresses)]
