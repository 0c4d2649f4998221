"""Guessing passwords is slow: failed attempts of one account from one address are counted in the database."""

import hashlib
import math
from datetime import timedelta

from fastapi import Request
from kasal_contracts.errors import TooManyError
from kasal_db import db_now
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from .access_tokens import database_time
from .tables import LoginAttempt


def throttle_subject(account: str, address: str) -> str:
    return hashlib.sha256(f"{account}|{address}".encode()).hexdigest()


def client_address(request: Request) -> str:
    """The gateway appends whom it saw to `X-Forwarded-For`; what stands before that, anybody may have written."""
    forwarded = request.headers.get("x-forwarded-for", "").split(",")[-1].strip()
    if forwarded:
        return forwarded
    return request.client.host if request.client else "local"


async def charge(session: AsyncSession, subject: str, *, failures: int, window: timedelta) -> None:
    """Count an attempt before it is decided, so that attempts in parallel count too. Raises TooManyError."""
    recent = select(func.count(), func.min(LoginAttempt.at, type_=LoginAttempt.at.type)).where(
        LoginAttempt.subject == subject, LoginAttempt.at > db_now(-window)
    )
    count, oldest = (await session.execute(recent)).one()
    if count >= failures:
        wait = oldest + window - await database_time(session)
        raise TooManyError(
            "too many failed attempts; wait before you try again",
            retry_after_s=max(1, math.ceil(wait.total_seconds())),
        )
    session.add(LoginAttempt(subject=subject))


async def forgive(session: AsyncSession, subject: str) -> None:
    """The attempt succeeded: earlier failures are forgotten."""
    await session.execute(delete(LoginAttempt).where(LoginAttempt.subject == subject))


async def forget_attempts(session: AsyncSession, window: timedelta) -> None:
    await session.execute(delete(LoginAttempt).where(LoginAttempt.at < db_now(-window)))
