"""What routes ask for: the caller's transaction, and what the caller's executions could reach."""

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
from .providers import Addresses, Reach


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


async def _reach(request: Request, opened: Opened, me: Me) -> Reach:
    return Reach(await opened.credentials.held_by(me, bearer_token(request)), opened.addresses)


# The scope commits before the answer leaves. Ask for `CallersReach` before a session: no transaction waits for auth.
Reading = Annotated[AsyncSession, Depends(_reading, scope="function")]
Writing = Annotated[AsyncSession, Depends(_writing, scope="function")]
CallersReach = Annotated[Reach, Depends(_reach)]
