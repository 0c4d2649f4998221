"""Groups own everything that people make. A system administrator manages them; members may look at their own."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Response
from kasal_contracts.errors import ForbiddenError, NotFoundError
from kasal_contracts.identity import Caller
from kasal_contracts.ids import new_id
from kasal_contracts.pages import Page
from kasal_contracts.wire import Resource
from kasal_db import owned, page_of
from kasal_runtime.bodies import Writable
from kasal_runtime.ids import Id
from kasal_runtime.paging import DEFAULT_LIMIT, Cursor, Limit
from kasal_runtime.revisions import IfMatch, check_match, set_etag
from kasal_runtime.security import SystemAdmin, Viewer
from pydantic import Field
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from .fields import Description
from .resources import Reading, Writing, store
from .revocations import revoke_member
from .tables import Group, Membership, User

log = structlog.get_logger(__name__)
router = APIRouter(tags=["groups"])

Name = Annotated[str, Field(min_length=1, max_length=100)]


class GroupOut(Resource):
    """`group_id` is its own id: a group belongs to itself."""

    name: str
    description: str


class GroupIn(Writable):
    name: Name
    description: Description = ""


class GroupPatch(Writable):
    name: Name | None = None
    description: Description | None = None


@router.post("/api/v1/groups", status_code=201, summary="Make a group")
async def create_group(body: GroupIn, me: SystemAdmin, session: Writing, response: Response) -> GroupOut:
    group = new_group(body.name, me.user_id, body.description)
    await store(session, group, taken=f"there is a group {body.name!r} already")
    log.info("group_made", group_id=group.id, by=me.user_id)
    response.headers["Location"] = f"/api/v1/groups/{group.id}"
    set_etag(response, group.revision)
    return GroupOut.model_validate(group)


@router.get("/api/v1/groups", summary="List groups: all for a system administrator, else one's own")
async def list_groups(
    me: Viewer, session: Reading, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[GroupOut]:
    found, following = await page_of(session, _visible(me), Group, limit=limit, cursor=cursor)
    return Page(items=[GroupOut.model_validate(group) for group in found], next_cursor=following)


@router.get("/api/v1/groups/{group_id}", summary="Read a group")
async def read_group(group_id: Id, me: Viewer, session: Reading, response: Response) -> GroupOut:
    group = await _visible_group(session, me, group_id)
    set_etag(response, group.revision)
    return GroupOut.model_validate(group)


@router.put("/api/v1/groups/{group_id}", summary="Replace a group")
async def replace_group(
    group_id: Id, body: GroupIn, me: Viewer, session: Writing, response: Response, if_match: IfMatch = None
) -> GroupOut:
    return await _change(session, group_id, GroupPatch(**body.model_dump()), me, response, if_match)


@router.patch("/api/v1/groups/{group_id}", summary="Change a group")
async def patch_group(
    group_id: Id, body: GroupPatch, me: Viewer, session: Writing, response: Response, if_match: IfMatch = None
) -> GroupOut:
    return await _change(session, group_id, body, me, response, if_match)


@router.delete("/api/v1/groups/{group_id}", status_code=204, summary="Remove a group, its memberships and its keys")
async def delete_group(group_id: Id, me: Viewer, session: Writing, if_match: IfMatch = None) -> None:
    group = await _managed_group(session, me, group_id)
    check_match(if_match, group.revision)
    members = await _members(session, me, group_id)
    for user in members:
        user.groups = [each for each in user.groups if each != group_id]
    await session.delete(group)
    for user in members:
        await revoke_member(session, user.id, group_id)
    log.info("group_removed", group_id=group_id, by=me.user_id)


async def _change(
    session: AsyncSession, group_id: str, changes: GroupPatch, me: Caller, response: Response, if_match: str | None
) -> GroupOut:
    group = await _managed_group(session, me, group_id)
    check_match(if_match, group.revision)
    for name, value in changes.model_dump(exclude_none=True).items():
        setattr(group, name, value)
    await store(session, group, taken=f"there is a group {group.name!r} already")
    log.info("group_changed", group_id=group_id, by=me.user_id)
    set_etag(response, group.revision)
    return GroupOut.model_validate(group)


def new_group(name: str, created_by: str, description: str = "") -> Group:
    group_id = new_id()
    return Group(id=group_id, group_id=group_id, name=name, description=description, created_by=created_by)


def in_group(me: Caller, group_id: str) -> Caller:
    """`me`, as if `group_id` were the active group; whether that is allowed is for the caller to know."""
    return me.model_copy(update={"group_id": group_id})


def _visible(me: Caller) -> Select[Group]:
    if me.is_system_admin:
        return select(Group)
    return select(Group).join(Membership).where(Membership.user_id == me.user_id)


async def _members(session: AsyncSession, me: Caller, group_id: str) -> list[User]:
    """Locked in the order of their ids, so that two removals cannot wait for each other."""
    memberships = owned(Membership, in_group(me, group_id)).with_only_columns(Membership.user_id)
    users = select(User).where(User.id.in_(memberships)).order_by(User.id).with_for_update()
    return list(await session.scalars(users))


async def _visible_group(session: AsyncSession, me: Caller, group_id: str) -> Group:
    """Raises NotFoundError."""
    group = await session.scalar(_visible(me).where(Group.id == group_id))
    if group is None:
        raise NotFoundError("group", group_id)
    return group


async def _managed_group(session: AsyncSession, me: Caller, group_id: str) -> Group:
    """Raises NotFoundError for a group that `me` is not in, ForbiddenError for one that `me` may only look at."""
    group = await _visible_group(session, me, group_id)
    if not me.is_system_admin:
        raise ForbiddenError("this needs a system administrator")
    return group


async def find_group(session: AsyncSession, group_id: str) -> Group:
    """Raises NotFoundError."""
    group = await session.get(Group, group_id)
    if group is None:
        raise NotFoundError("group", group_id)
    return group
