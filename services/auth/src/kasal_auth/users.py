"""People. A system administrator makes, changes and removes them."""

from typing import ClassVar

import structlog
from fastapi import APIRouter, Response
from kasal_contracts.errors import ConflictError, NotFoundError
from kasal_contracts.identity import Caller
from kasal_contracts.pages import Page
from kasal_contracts.storable import StorableText
from kasal_contracts.wire import JsonObject, Resource
from kasal_db import db_now, page_of
from kasal_runtime.bodies import READ_ONLY, Writable
from kasal_runtime.ids import Id
from kasal_runtime.paging import DEFAULT_LIMIT, Cursor, Limit
from kasal_runtime.revisions import IfMatch, check_match, set_etag
from kasal_runtime.security import SystemAdmin
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from .fields import DisplayName, Email, Preferences, Secret, check_password_rule, normal_email
from .resources import Reading, Shared, Writing, store
from .revocations import revoke_session, revoke_user
from .tables import SYSTEM_ADMIN, LoginSession, User

log = structlog.get_logger(__name__)
router = APIRouter(tags=["users"])


class UserOut(Resource):
    """`groups` are ids. `group_id` is the group in which the account was made; it gives no right."""

    email: str
    display_name: str
    is_system_admin: bool
    disabled: bool
    groups: list[str]
    preferences: JsonObject

    @classmethod
    def of(cls, user: User) -> "UserOut":
        return cls.model_validate(user)


class UserIn(Writable):
    """Without `password` nobody can log in as this user; a change without it keeps the present one."""

    read_only: ClassVar[frozenset[str]] = READ_ONLY | {"groups"}

    email: Email
    password: Secret | None = None
    display_name: DisplayName = ""
    is_system_admin: bool = False
    disabled: bool = False
    preferences: Preferences = {}


class UserPatch(Writable):
    read_only: ClassVar[frozenset[str]] = UserIn.read_only

    email: Email | None = None
    password: Secret | None = None
    display_name: DisplayName | None = None
    is_system_admin: bool | None = None
    disabled: bool | None = None
    preferences: Preferences | None = None


@router.post("/api/v1/users", status_code=201, summary="Make a user")
async def create_user(body: UserIn, me: SystemAdmin, shared: Shared, response: Response) -> UserOut:
    password_hash = await checked_hash(shared, body, body.email)
    async with shared.database.tenant(me) as session:
        user = User(group_id=me.group_id, created_by=me.user_id, **body.model_dump(exclude={"password"}))
        user.password_hash = password_hash
        await store(session, user, taken=f"there is a user {body.email!r} already")
    log.info("user_made", user_id=user.id, by=me.user_id)
    response.headers["Location"] = f"/api/v1/users/{user.id}"
    set_etag(response, user.revision)
    return UserOut.of(user)


@router.get("/api/v1/users", summary="List users")
async def list_users(
    me: SystemAdmin,
    session: Reading,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    email: StorableText | None = None,
) -> Page[UserOut]:
    del me
    rows = select(User)
    if email is not None:
        rows = rows.where(User.email == normal_email(email))
    found, following = await page_of(session, rows, User, limit=limit, cursor=cursor)
    return Page(items=[UserOut.of(user) for user in found], next_cursor=following)


@router.get("/api/v1/users/{user_id}", summary="Read a user")
async def read_user(user_id: Id, me: SystemAdmin, session: Reading, response: Response) -> UserOut:
    del me
    user = await find_user(session, user_id)
    set_etag(response, user.revision)
    return UserOut.of(user)


@router.put("/api/v1/users/{user_id}", summary="Replace a user")
async def replace_user(
    user_id: Id, body: UserIn, me: SystemAdmin, shared: Shared, response: Response, if_match: IfMatch = None
) -> UserOut:
    changes = UserPatch(**body.model_dump())
    return await _change(user_id, changes, me, shared, response, if_match)


@router.patch("/api/v1/users/{user_id}", summary="Change a user")
async def patch_user(
    user_id: Id, body: UserPatch, me: SystemAdmin, shared: Shared, response: Response, if_match: IfMatch = None
) -> UserOut:
    return await _change(user_id, body, me, shared, response, if_match)


@router.delete("/api/v1/users/{user_id}", status_code=204, summary="Remove a user")
async def delete_user(user_id: Id, me: SystemAdmin, session: Writing, if_match: IfMatch = None) -> None:
    user = await find_user(session, user_id, lock=True)
    check_match(if_match, user.revision)
    await _keep_a_system_admin(session, user)
    await session.delete(user)
    await revoke_user(session, user_id)
    log.info("user_removed", user_id=user_id, by=me.user_id)


async def _change(
    user_id: str, changes: UserPatch, me: Caller, shared: Shared, response: Response, if_match: str | None
) -> UserOut:
    password_hash: str | None = None
    if changes.password is not None:
        async with shared.database.tenant(me, read_only=True) as session:
            email = changes.email or (await find_user(session, user_id)).email
        password_hash = await checked_hash(shared, changes, email)
    async with shared.database.tenant(me) as session:
        user = await find_user(session, user_id, lock=True)
        check_match(if_match, user.revision)
        await apply_changes(session, user, changes, password_hash)
        await store(session, user, taken=f"there is a user {user.email!r} already")
    log.info("user_changed", user_id=user_id, by=me.user_id, fields=sorted(changes.model_fields_set))
    set_etag(response, user.revision)
    return UserOut.of(user)


async def checked_hash(shared: Shared, body: UserIn | UserPatch, email: str) -> str | None:
    """The hash of the body's password, if it has one. Raises InvalidError when the rule is not met."""
    if body.password is None:
        return None
    check_password_rule(body.password, email, field="password")
    return await shared.passwords.hash(body.password)


async def apply_changes(session: AsyncSession, user: User, changes: UserPatch, password_hash: str | None) -> None:
    """What takes rights away, or may do so, ends the user's tokens. A new password or a lock ends the sessions too."""
    loses_rights = changes.is_system_admin not in {None, user.is_system_admin} or bool(changes.disabled)
    if user.is_system_admin and not user.disabled and (changes.is_system_admin is False or changes.disabled):
        await _keep_a_system_admin(session, user)
    for name, value in changes.model_dump(exclude={"password"}, exclude_none=True).items():
        setattr(user, name, value)
    if password_hash is not None:
        user.password_hash = password_hash
    if password_hash is not None or changes.disabled:
        await end_sessions(session, user.id)
    if loses_rights or password_hash is not None:
        await revoke_user(session, user.id)


async def end_sessions(session: AsyncSession, user_id: str, keep: str | None = None) -> None:
    """End the user's sessions, all but `keep`, and the tokens that came from them."""
    ended = await session.scalars(
        update(LoginSession)
        .where(LoginSession.user_id == user_id, LoginSession.ended_at.is_(None), LoginSession.id != (keep or ""))
        .values(ended_at=db_now())
        .returning(LoginSession.id)
    )
    for session_id in ended.all():
        await revoke_session(session, session_id)


async def _keep_a_system_admin(session: AsyncSession, leaving: User) -> None:
    """Raises ConflictError where nobody would be left who can manage users."""
    if not leaving.is_system_admin:
        return
    admins = select(User.id).where(User.permissions.contains(SYSTEM_ADMIN), User.disabled.is_(False))
    ids = await session.scalars(admins.order_by(User.id).with_for_update())
    if set(ids) <= {leaving.id}:
        raise ConflictError("this is the last system administrator; make another one first")


async def find_user(session: AsyncSession, user_id: str, *, lock: bool = False) -> User:
    """Raises NotFoundError."""
    rows = select(User).where(User.id == user_id)
    user = await session.scalar(rows.with_for_update() if lock else rows)
    if user is None:
        raise NotFoundError("user", user_id)
    return user
