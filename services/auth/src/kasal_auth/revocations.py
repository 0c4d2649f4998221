"""Which access tokens ended before their time. Every service reads the short list again and again."""

from datetime import timedelta

from fastapi import APIRouter
from kasal_db import db_now
from kasal_runtime.tokens import Revocation, Revocations
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from .resources import Shared
from .tables import RevokedSubject

# Longer than any access token lives.
KEPT = timedelta(minutes=20)

router = APIRouter(tags=["auth"])


@router.get("/.well-known/revocations.json", summary="Subjects whose access tokens ended in the last 20 minutes")
async def list_revocations(shared: Shared) -> Revocations:
    async with shared.database.system(read_only=True) as session:
        return await recent(session)


async def recent(session: AsyncSession) -> Revocations:
    rows = await session.execute(
        select(RevokedSubject.subject, func.max(RevokedSubject.before, type_=RevokedSubject.before.type))
        .where(RevokedSubject.before > db_now(-KEPT))
        .group_by(RevokedSubject.subject)
    )
    return Revocations(items=[Revocation(subject=subject, before=before.timestamp()) for subject, before in rows])


async def revoke_session(session: AsyncSession, session_id: str) -> None:
    await _revoke(session, f"session:{session_id}")


async def revoke_user(session: AsyncSession, user_id: str) -> None:
    await _revoke(session, f"user:{user_id}")


async def revoke_member(session: AsyncSession, user_id: str, group_id: str) -> None:
    await _revoke(session, f"member:{user_id}:{group_id}")


async def _revoke(session: AsyncSession, subject: str) -> None:
    # The change of rights is written first. Its row lock holds back tokens that are being issued, so that
    # whatever was issued by the old rights is older than `before`.
    await session.flush()
    session.add(RevokedSubject(subject=subject))
    await session.flush()


async def forget_revocations(session: AsyncSession) -> None:
    await session.execute(delete(RevokedSubject).where(RevokedSubject.before < db_now(-KEPT)))
