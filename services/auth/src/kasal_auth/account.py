"""What a user may see and change of their own account."""

from typing import ClassVar

import structlog
from fastapi import APIRouter, Request, Response
from kasal_contracts.errors import ForbiddenError
from kasal_contracts.identity import Caller, Role
from kasal_contracts.wire import JsonObject, Timestamp
from kasal_runtime.bodies import READ_ONLY, Body, Writable
from kasal_runtime.revisions import IfMatch, check_match, set_etag
from kasal_runtime.security import Viewer
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import undefer

from .fields import DisplayName, Preferences, Secret, check_password_rule
from .resources import Reading, Shared, Writing, store
from .tables import Group, Membership, User
from .throttle import charge, client_address, forgive, throttle_subject
from .users import end_sessions, find_user

log = structlog.get_logger(__name__)
router = APIRouter(tags=["auth"])


class GroupRole(BaseModel):
    id: str
    name: str
    role: Role


class AccountOut(BaseModel):
    """`group_id` and `role` tell the active group; `group_id` is null for a user in no group."""

    id: str
    group_id: str | None
    role: Role
    groups: list[GroupRole] = Field(description="In the order of joining; the first is active by default.")
    email: str
    display_name: str
    is_system_admin: bool
    preferences: JsonObject
    created_by: str
    created_at: Timestamp
    updated_at: Timestamp


class AccountPatch(Writable):
    read_only: ClassVar[frozenset[str]] = READ_ONLY | {"role", "groups", "email", "is_system_admin"}

    display_name: DisplayName | None = None
    preferences: Preferences | None = None


class PasswordIn(Body):
    current_password: Secret
    new_password: Secret


@router.get("/api/v1/auth/me", summary="Read one's own account")
async def read_me(me: Viewer, session: Reading, response: Response) -> AccountOut:
    user = await find_user(session, me.user_id)
    set_etag(response, user.revision)
    return await account_of(session, user, me.group_id)


@router.patch("/api/v1/auth/me", summary="Change one's own name and preferences")
async def patch_me(
    body: AccountPatch, me: Viewer, session: Writing, response: Response, if_match: IfMatch = None
) -> AccountOut:
    user = await find_user(session, me.user_id, lock=True)
    check_match(if_match, user.revision)
    for name, value in body.model_dump(exclude_none=True).items():
        setattr(user, name, value)
    await store(session, user, taken="the account has changed")
    set_etag(response, user.revision)
    return await account_of(session, user, me.group_id)


@router.post("/api/v1/auth/password", status_code=204, summary="Change one's own password; other sessions end")
async def change_password(body: PasswordIn, request: Request, me: Viewer, shared: Shared) -> None:
    async with shared.database.tenant(me, read_only=True) as session:
        email = (await find_user(session, me.user_id)).email
    check_password_rule(body.new_password, email, field="new_password")
    subject = throttle_subject(me.user_id, client_address(request))
    stored = await _charged_hash(shared, me, subject)
    if not await shared.passwords.verify(stored, body.current_password):
        log.warning("password_change_refused", user_id=me.user_id)
        raise ForbiddenError("the current password is not right")
    new_hash = await shared.passwords.hash(body.new_password)
    async with shared.database.tenant(me) as session:
        user = await find_user(session, me.user_id, lock=True)
        user.password_hash = new_hash
        await end_sessions(session, user.id, keep=me.session_id)
        await forgive(session, subject)
    log.info("password_changed", user_id=me.user_id)


async def _charged_hash(shared: Shared, me: Caller, subject: str) -> str | None:
    settings = shared.settings
    async with shared.database.tenant(me) as session:
        await charge(session, subject, failures=settings.login_failures, window=settings.login_window)
        user = await session.scalar(select(User).where(User.id == me.user_id).options(undefer(User.password_hash)))
        return user.password_hash if user else None


async def account_of(session: AsyncSession, user: User, active: str) -> AccountOut:
    """`active` is the group of the caller's token."""
    rows = await session.execute(
        select(Group.id, Group.name, Membership.role).join(Membership).where(Membership.user_id == user.id)
    )
    by_id = {id_: GroupRole(id=id_, name=name, role=role) for id_, name, role in rows}
    here = by_id.get(active)
    return AccountOut(
        id=user.id,
        group_id=here.id if here else None,
        role=here.role if here else Role.VIEWER,
        groups=[by_id[id_] for id_ in user.groups if id_ in by_id],
        email=user.email,
        display_name=user.display_name,
        is_system_admin=user.is_system_admin,
        preferences=user.preferences,
        created_by=user.created_by,
        created_at=user.created_at,
        updated_at=user.updated_at,
    )
