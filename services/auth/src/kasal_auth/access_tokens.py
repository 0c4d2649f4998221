"""Access tokens for people and for services (claims in `kasal_runtime.tokens.Claims`)."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kasal_contracts.errors import NotFoundError, UnauthenticatedError
from kasal_contracts.identity import Act, Caller, Role
from kasal_contracts.ids import new_id
from kasal_contracts.storable import is_text
from kasal_db import db_now, owned
from kasal_runtime.tokens import AUDIENCE, ISSUER, Claims
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from .signing import Signer
from .tables import LoginSession, Membership, User

SERVICE_TOKEN_LIFETIME = timedelta(minutes=5)


@dataclass(frozen=True)
class IssuedToken:
    """`lifetime` counts from now."""

    token: str
    lifetime: timedelta
    group_id: str
    role: Role


@dataclass(frozen=True)
class Standing:
    """Where a user stands at `at`, by the database's clock."""

    user: User
    group_id: str
    role: Role
    at: datetime


class AccessTokens:
    def __init__(self, signer: Signer, lifetime: timedelta) -> None:
        self._signer = signer
        self._lifetime = lifetime

    async def for_user(
        self, session: AsyncSession, user_id: str, session_id: str, group_id: str | None = None
    ) -> IssuedToken:
        """A token for `group_id`, or for the user's first group.

        Raises UnauthenticatedError when user or session are not live, NotFoundError when not a member.
        """
        standing = await live_standing(session, user_id, session_id, group_id)
        claims = Claims(
            sub=user_id,
            gid=standing.group_id,
            role=standing.role,
            jti=new_id(),
            sid=session_id,
            iss=ISSUER,
            aud=AUDIENCE,
            iat=standing.at.timestamp(),
            exp=(standing.at + self._lifetime).timestamp(),
            sys=standing.user.is_system_admin,
        )
        token = await self._signer.sign(session, claims)
        return IssuedToken(token, self._lifetime, standing.group_id, standing.role)

    async def for_service(self, session: AsyncSession, service: str, audience: str, act: Act | None) -> IssuedToken:
        at = await database_time(session)
        group_id = act.group_id if act else ""
        claims = Claims(
            sub=f"service:{service}",
            gid=group_id,
            role=Role.VIEWER,
            jti=new_id(),
            iss=ISSUER,
            aud=audience,
            iat=at.timestamp(),
            exp=(at + SERVICE_TOKEN_LIFETIME).timestamp(),
            service=service,
            act=act,
        )
        token = await self._signer.sign(session, claims)
        return IssuedToken(token, SERVICE_TOKEN_LIFETIME, group_id, Role.VIEWER)


async def live_standing(session: AsyncSession, user_id: str, session_id: str, group_id: str | None) -> Standing:
    """Raises UnauthenticatedError when user or session are not live, NotFoundError when not a member.

    The rows stay share-locked, in the order user, session, membership, and the time is taken after that: a change
    of rights in the same moment is either seen here, or revokes the token that is about to be issued.
    """
    user = await session.scalar(select(User).where(User.id == user_id).with_for_update(read=True))
    family = await session.scalar(_live_session(session_id).with_for_update(read=True))
    if user is None or user.disabled or family is None or family.user_id != user_id:
        raise UnauthenticatedError("the session has ended; log in again")
    chosen = group_id or first_group(user.groups, user.id)
    role = await _role_in(session, user, chosen) if is_text(chosen) else None
    if role is None and (user.groups or chosen != user.id):
        raise NotFoundError("group", chosen)
    return Standing(user, chosen, role or Role.VIEWER, await database_time(session))


def first_group(groups: Sequence[str], user_id: str) -> str:
    """The group that is active by default. A user in no group sees an empty place that nobody else shares."""
    return groups[0] if groups else user_id


def _live_session(session_id: str) -> Select[LoginSession]:
    return select(LoginSession).where(
        LoginSession.id == session_id, LoginSession.ended_at.is_(None), LoginSession.expires_at > db_now()
    )


async def _role_in(session: AsyncSession, user: User, group_id: str) -> Role | None:
    there = Caller(user_id=user.id, group_id=group_id, role=Role.VIEWER)
    mine = owned(Membership, there).where(Membership.user_id == user.id).with_for_update(read=True)
    membership = await session.scalar(mine)
    return Role(membership.role) if membership else None


async def database_time(session: AsyncSession) -> datetime:
    return (await session.execute(select(db_now()))).scalar_one()


def new_secret() -> str:
    """256 bits for a refresh token or a ticket."""
    return secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """What is stored of a random secret. It needs no salt: nobody can guess 256 bits."""
    return hashlib.sha256(secret.encode()).hexdigest()
