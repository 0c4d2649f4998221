"""Provider keys of a group. Values go in encrypted and come out only at `/internal/credentials`."""

import re
from datetime import UTC, datetime
from typing import Annotated, ClassVar

import structlog
from fastapi import APIRouter, Path, Response
from kasal_contracts.errors import NotFoundError
from kasal_contracts.identity import Caller
from kasal_contracts.pages import Page
from kasal_contracts.wire import Resource, Timestamp
from kasal_db import owned, page_of
from kasal_runtime.bodies import READ_ONLY, Writable
from kasal_runtime.ids import Id
from kasal_runtime.paging import DEFAULT_LIMIT, Cursor, Limit
from kasal_runtime.revisions import IfMatch, check_match, set_etag
from kasal_runtime.security import Admin, Editor
from pydantic import AfterValidator, Field, SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from .fields import Description
from .resources import Reading, Shared, Writing, store
from .tables import ApiKey

VALUE_MAX = 16_000
HINT_LENGTH = 4
# The last characters of a shorter value would give too much of it away.
HINTED_FROM = 8

log = structlog.get_logger(__name__)
router = APIRouter(tags=["api keys"])


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,127}", text):
        raise ValueError("a name starts with a letter and has letters, digits, '_', '-' and '.' only")
    return text


NewName = Annotated[str, Path(), AfterValidator(_name)]
Value = Annotated[SecretStr, Field(min_length=1, max_length=VALUE_MAX)]


class ApiKeyOut(Resource):
    """What may be told of a key. `hint` is the end of its value; `version` counts the values."""

    name: str
    description: str
    hint: str
    version: int
    expires_at: Timestamp | None
    expired: bool


class ApiKeyIn(Writable):
    read_only: ClassVar[frozenset[str]] = READ_ONLY | {"name", "hint", "version", "expired"}

    value: Value
    description: Description = ""
    expires_at: Timestamp | None = None


class RotationIn(Writable):
    """The expiry belongs to a value: without one, the new value does not expire."""

    value: Value
    expires_at: Timestamp | None = None


@router.put("/api/v1/api-keys/{name}", summary="Store a provider key", responses={201: {"model": ApiKeyOut}})
async def put_api_key(
    name: NewName,
    body: ApiKeyIn,
    me: Admin,
    shared: Shared,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> ApiKeyOut:
    key = await session.scalar(owned(ApiKey, me).where(ApiKey.name == name).with_for_update())
    check_match(if_match, key.revision if key else 0)
    if key is None:
        response.status_code = 201
        response.headers["Location"] = f"/api/v1/api-keys/{name}"
        key = ApiKey(group_id=me.group_id, created_by=me.user_id, name=name, version=0)
    key.description = body.description
    return await _set_value(session, shared, key, body, me, response)


@router.post("/api/v1/api-keys/{name}/rotate", summary="Replace the value of a provider key")
async def rotate_api_key(
    name: Id,
    body: RotationIn,
    me: Admin,
    shared: Shared,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> ApiKeyOut:
    key = await find_api_key(session, me, name, lock=True)
    check_match(if_match, key.revision)
    return await _set_value(session, shared, key, body, me, response)


@router.get("/api/v1/api-keys", summary="List the provider keys of the group, without their values")
async def list_api_keys(
    me: Editor, session: Reading, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[ApiKeyOut]:
    found, following = await page_of(session, owned(ApiKey, me), ApiKey, limit=limit, cursor=cursor)
    return Page(items=[_metadata(key) for key in found], next_cursor=following)


@router.get("/api/v1/api-keys/{name}", summary="Read what may be told of a provider key")
async def read_api_key(name: Id, me: Editor, session: Reading, response: Response) -> ApiKeyOut:
    key = await find_api_key(session, me, name)
    set_etag(response, key.revision)
    return _metadata(key)


@router.delete("/api/v1/api-keys/{name}", status_code=204, summary="Remove a provider key")
async def delete_api_key(name: Id, me: Admin, session: Writing, if_match: IfMatch = None) -> None:
    key = await find_api_key(session, me, name, lock=True)
    check_match(if_match, key.revision)
    await session.delete(key)
    log.info("api_key_removed", name=name, group_id=me.group_id, by=me.user_id)


async def _set_value(
    session: AsyncSession, shared: Shared, key: ApiKey, body: ApiKeyIn | RotationIn, me: Caller, response: Response
) -> ApiKeyOut:
    value = body.value.get_secret_value()
    key.value = shared.keyring.encrypt(value, bound_to=bound_to(key))
    key.hint = value[-HINT_LENGTH:] if len(value) >= HINTED_FROM else ""
    key.expires_at = body.expires_at
    key.version += 1
    await store(session, key, taken=f"the key {key.name!r} was made in the meantime")
    log.info("api_key_stored", name=key.name, version=key.version, group_id=me.group_id, by=me.user_id)
    set_etag(response, key.revision)
    return _metadata(key)


def bound_to(key: ApiKey) -> str:
    return f"api_keys/{key.group_id}/{key.name}"


def has_expired(key: ApiKey) -> bool:
    return key.expires_at is not None and key.expires_at <= datetime.now(UTC)


def _metadata(key: ApiKey) -> ApiKeyOut:
    key_fields = {name: getattr(key, name) for name in ApiKeyOut.model_fields if name != "expired"}
    return ApiKeyOut(**key_fields, expired=has_expired(key))


async def find_api_key(session: AsyncSession, me: Caller, name: str, *, lock: bool = False) -> ApiKey:
    """Raises NotFoundError."""
    rows = owned(ApiKey, me).where(ApiKey.name == name)
    key = await session.scalar(rows.with_for_update() if lock else rows)
    if key is None:
        raise NotFoundError("key", name)
    return key
