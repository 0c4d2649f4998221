"""Who is in a group, and with which role. The group's administrators decide."""

from typing import ClassVar

import structlog
from fastapi import APIRouter, Response
from kasal_contracts.errors import ForbiddenError, InvalidError, NotFoundError
from kasal_contracts.identity import Caller, Role
from kasal_contracts.pages import Page
from kasal_contracts.problems import FieldError
from kasal_contracts.wire import Resource
from kasal_db import owned, page_of
from kasal_runtime.bodies import READ_ONLY, Writable
from kasal_runtime.ids import Id
from kasal_runtime.paging import DEFAULT_LIMIT, Cursor, Limit
from kasal_runtime.revisions import IfMatch, check_match, set_etag
from kasal_runtime.security import Viewer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from .fields import Email
from .groups import find_group, in_group
from .resources import Reading, Writing, store
from .revocations import revoke_member
from .tables import Membership, User

log = structlog.get_logger(__name__)
router = APIRouter(tags=["groups"])


class MemberOut(Resource):
    """A member is addressed by the user's id."""

    user_id: str
    email: str
    display_name: str
    role: Role


class MemberIn(Writable):
    """Names the user by `user_id` or by `email`."""

    read_only: ClassVar[frozenset[str]] = READ_ONLY | {"display_name"}

    user_id: str | None = None
    email: Email | None = None
    role: Role


class RoleIn(Writable):
    read_only: ClassVar[frozenset[str]] = READ_ONLY | {"user_id", "email", "display_name"}

    role: Role


@router.post("/api/v1/groups/{group_id}/members", status_code=201, summary="Add a user to a group")
async def add_member(group_id: Id, body: MemberIn, me: Viewer, session: Writing, response: Response) -> MemberOut:
    await as_group_admin(session, me, group_id)
    user = await _named_user(session, body)
    membership = await join(session, user, group_id, body.role, me.user_id)
    log.info("member_added", group_id=group_id, user_id=user.id, role=body.role, by=me.user_id)
    response.headers["Location"] = f"/api/v1/groups/{group_id}/members/{user.id}"
    set_etag(response, membership.revision)
    return _member(membership, user)


@router.get("/api/v1/groups/{group_id}/members", summary="List the members of a group")
async def list_members(
    group_id: Id, me: Viewer, session: Reading, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[MemberOut]:
    there = await as_group_admin(session, me, group_id)
    found, following = await page_of(session, owned(Membership, there), Membership, limit=limit, cursor=cursor)
    users = await session.scalars(select(User).where(User.id.in_([each.user_id for each in found])))
    by_id = {user.id: user for user in users}
    return Page(items=[_member(each, by_id[each.user_id]) for each in found], next_cursor=following)


@router.get("/api/v1/groups/{group_id}/members/{user_id}", summary="Read a member")
async def read_member(group_id: Id, user_id: Id, me: Viewer, session: Reading, response: Response) -> MemberOut:
    there = await as_group_admin(session, me, group_id)
    user, membership = await _find_member(session, there, user_id)
    set_etag(response, membership.revision)
    return _member(membership, user)


@router.put("/api/v1/groups/{group_id}/members/{user_id}", name="replace_member", summary="Replace a member's role")
@router.patch("/api/v1/groups/{group_id}/members/{user_id}", name="patch_member", summary="Change a member's role")
async def change_member(
    group_id: Id, user_id: Id, body: RoleIn, me: Viewer, session: Writing, response: Response, if_match: IfMatch = None
) -> MemberOut:
    there = await as_group_admin(session, me, group_id)
    user, membership = await _find_member(session, there, user_id, lock=True)
    check_match(if_match, membership.revision)
    if membership.role != body.role:
        membership.role = body.role
        await revoke_member(session, user_id, group_id)
        await session.refresh(membership)
        log.info("member_changed", group_id=group_id, user_id=user_id, role=body.role, by=me.user_id)
    set_etag(response, membership.revision)
    return _member(membership, user)


@router.delete("/api/v1/groups/{group_id}/members/{user_id}", status_code=204, summary="Remove a user from a group")
async def remove_member(group_id: Id, user_id: Id, me: Viewer, session: Writing, if_match: IfMatch = None) -> None:
    there = await as_group_admin(session, me, group_id)
    user, membership = await _find_member(session, there, user_id, lock=True)
    check_match(if_match, membership.revision)
    user.groups = [each for each in user.groups if each != group_id]
    await session.delete(membership)
    await revoke_member(session, user_id, group_id)
    log.info("member_removed", group_id=group_id, user_id=user_id, by=me.user_id)


async def as_group_admin(session: AsyncSession, me: Caller, group_id: str) -> Caller:
    """`me` acting in `group_id`, which need not be the active group.

    Raises NotFoundError for a group that `me` is not in, ForbiddenError below the role of an administrator.
    """
    there = in_group(me, group_id)
    if me.is_system_admin:
        await find_group(session, group_id)
        return there
    mine = await session.scalar(owned(Membership, there).where(Membership.user_id == me.user_id))
    if mine is None:
        raise NotFoundError("group", group_id)
    if mine.role != Role.ADMIN:
        raise ForbiddenError("this needs an administrator of the group")
    return there


async def join(session: AsyncSession, user: User, group_id: str, role: Role, created_by: str) -> Membership:
    """Make `user`, whose row is locked, a member. Raises ConflictError when it is one already."""
    membership = Membership(group_id=group_id, user_id=user.id, role=role, created_by=created_by)
    await store(session, membership, taken="this user is a member already; change the role instead")
    user.groups = [*user.groups, group_id]
    return membership


async def _named_user(session: AsyncSession, body: MemberIn) -> User:
    if (body.user_id is None) == (body.email is None):
        reason = "name the user by user_id or by email"
        raise InvalidError(reason, errors=[FieldError(loc=["body"], msg=reason)])
    named = User.id == body.user_id if body.user_id is not None else User.email == body.email
    user = await session.scalar(select(User).where(named).with_for_update())
    if user is None:
        raise NotFoundError("user", body.user_id or body.email or "")
    return user


async def _find_member(
    session: AsyncSession, there: Caller, user_id: str, *, lock: bool = False
) -> tuple[User, Membership]:
    """User first, then membership: the order in which everything locks them. Raises NotFoundError."""
    users = select(User).where(User.id == user_id)
    memberships = owned(Membership, there).where(Membership.user_id == user_id)
    user = await session.scalar(users.with_for_update() if lock else users)
    membership = await session.scalar(memberships.with_for_update() if lock else memberships)
    if user is None or membership is None:
        raise NotFoundError("member", user_id)
    return user, membership


def _member(membership: Membership, user: User) -> MemberOut:
    return MemberOut(
        id=user.id,
        group_id=membership.group_id,
        created_by=membership.created_by,
        created_at=membership.created_at,
        updated_at=membership.updated_at,
        user_id=user.id,
        email=user.email,
        display_name=user.display_name,
        role=membership.role,
    )
