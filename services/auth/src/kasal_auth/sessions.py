"""Login, refresh and logout. A session is a family of refresh tokens; a dead one that comes back ends the family."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import structlog
from fastapi import APIRouter, Request
from kasal_contracts.errors import UnauthenticatedError
from kasal_contracts.ids import new_id
from kasal_db import db_now
from kasal_runtime.bodies import Body
from kasal_runtime.security import Viewer
from pydantic import BaseModel, Field
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import undefer

from .access_tokens import IssuedToken, database_time, digest_of, new_secret
from .account import AccountOut, account_of
from .fields import Secret, normal_email
from .resources import Resources, Shared, Writing
from .revocations import revoke_session
from .tables import LoginSession, RefreshToken, User
from .throttle import charge, client_address, forgive, throttle_subject
from .users import find_user

log = structlog.get_logger(__name__)
router = APIRouter(tags=["auth"])


class LoginIn(Body):
    email: str = Field(max_length=254)
    password: Secret


class RefreshIn(Body):
    refresh_token: str = Field(max_length=200)


class TokenPair(BaseModel):
    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int = Field(description="Seconds until the access token ends.")


class LoginOut(TokenPair):
    user: AccountOut


@dataclass(frozen=True)
class Reused:
    """A refresh token came back after its use: either its owner or somebody else holds a copy."""

    session_id: str
    user_id: str


@router.post("/api/v1/auth/login", summary="Log in with email and password")
async def login(body: LoginIn, request: Request, shared: Shared) -> LoginOut:
    email = normal_email(body.email)
    subject = throttle_subject(email, client_address(request))
    user = await _charged_user(shared, email, subject)
    right = await shared.passwords.verify(user.password_hash if user else None, body.password)
    if user is None or not right or user.disabled:
        log.warning("login_refused", user_id=user.id if user else None)
        raise UnauthenticatedError("the email or the password is not right")
    async with shared.database.system() as session:
        await forgive(session, subject)
        family = await _open_session(session, user.id, shared.settings.session_lifetime)
        pair = await _issue(session, shared, user.id, family.id)
        account = await account_of(session, await find_user(session, user.id), pair.access.group_id)
    log.info("login", user_id=user.id, session_id=family.id)
    return LoginOut(**pair.as_answer().model_dump(), user=account)


@router.post("/api/v1/auth/refresh", summary="Exchange a refresh token for a new pair")
async def refresh(body: RefreshIn, shared: Shared) -> TokenPair:
    async with shared.database.system() as session:
        outcome = await _rotate(session, shared, body.refresh_token)
    # Raised only now: the end of the family must be committed, not rolled back.
    if isinstance(outcome, Reused):
        log.warning("refresh_token_reused", user_id=outcome.user_id, session_id=outcome.session_id)
        raise UnauthenticatedError("the refresh token is not valid; log in again")
    return outcome.as_answer()


@router.post("/api/v1/auth/logout", status_code=204, summary="End the session and its tokens")
async def logout(me: Viewer, session: Writing) -> None:
    await _end(session, me.session_id)
    log.info("logout", user_id=me.user_id, session_id=me.session_id)


@dataclass(frozen=True)
class _Pair:
    access: IssuedToken
    refresh: str

    def as_answer(self) -> TokenPair:
        lifetime = int(self.access.lifetime.total_seconds())
        return TokenPair(access_token=self.access.token, refresh_token=self.refresh, expires_in=lifetime)


async def _charged_user(shared: Resources, email: str, subject: str) -> User | None:
    settings = shared.settings
    async with shared.database.system() as session:
        await charge(session, subject, failures=settings.login_failures, window=settings.login_window)
        return await session.scalar(select(User).where(User.email == email).options(undefer(User.password_hash)))


async def _open_session(session: AsyncSession, user_id: str, lifetime: timedelta) -> LoginSession:
    family = LoginSession(id=new_id(), user_id=user_id, expires_at=await database_time(session) + lifetime)
    session.add(family)
    await session.flush()
    return family


async def _issue(session: AsyncSession, shared: Resources, user_id: str, session_id: str) -> _Pair:
    """Raises UnauthenticatedError when user or session are not live."""
    access = await shared.tokens.for_user(session, user_id, session_id)
    secret = new_secret()
    ends = await database_time(session) + shared.settings.refresh_token_lifetime
    session.add(RefreshToken(digest=digest_of(secret), session_id=session_id, expires_at=ends))
    return _Pair(access, secret)


async def _rotate(session: AsyncSession, shared: Resources, secret: str) -> _Pair | Reused:
    """Raises UnauthenticatedError for a token that is unknown, expired or of an ended session."""
    live = RefreshToken.expires_at > db_now()
    row = await session.scalar(
        select(RefreshToken).where(RefreshToken.digest == digest_of(secret), live).with_for_update()
    )
    family = await session.get(LoginSession, row.session_id) if row else None
    if row is None or family is None:
        raise UnauthenticatedError("the refresh token is not valid; log in again")
    if row.used_at is not None:
        await _end(session, family.id)
        return Reused(family.id, family.user_id)
    row.used_at = await database_time(session)
    return await _issue(session, shared, family.user_id, family.id)


async def _end(session: AsyncSession, session_id: str) -> None:
    alive = (LoginSession.id == session_id) & LoginSession.ended_at.is_(None)
    await session.execute(update(LoginSession).where(alive).values(ended_at=db_now()))
    await revoke_session(session, session_id)


async def forget_sessions(session: AsyncSession) -> None:
    """Drop what can neither be used nor be recognised as used again."""
    await session.execute(delete(RefreshToken).where(RefreshToken.expires_at < db_now()))
    await session.execute(delete(LoginSession).where(LoginSession.expires_at < db_now()))
