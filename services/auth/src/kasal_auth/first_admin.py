"""The first administrator: made from the settings where there is no user yet. There is no default password."""

import asyncio

import structlog
from argon2 import PasswordHasher
from kasal_contracts.errors import UnavailableError
from kasal_contracts.identity import Role
from kasal_db import Database
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from .fields import PASSWORD_MIN, normal_email
from .groups import new_group
from .members import join
from .tables import Group, User

DEFAULT_GROUP = "default"
SYSTEM = "system"

log = structlog.get_logger(__name__)


class FirstAdminMissingError(UnavailableError):
    def __init__(self) -> None:
        super().__init__(
            "there is no user yet and no first administrator is configured: "
            "set KASAL_ADMIN_EMAIL and KASAL_ADMIN_PASSWORD, or run `kasal admin create-user`"
        )


async def ensure_first_admin(
    database: Database, email: str, password: SecretStr, hasher: PasswordHasher | None = None
) -> bool:
    """Make the first user: a system administrator, and administrator of the group `default`.

    Answers whether it was made: with any user there, nothing happens. Raises FirstAdminMissingError when there is no
    user and email or password is empty, and DatabaseUnavailableError.
    """
    async with database.system(read_only=True) as session:
        if await _any_user(session):
            return False
    secret = password.get_secret_value()
    if not email or not secret:
        raise FirstAdminMissingError
    if len(secret) < PASSWORD_MIN:
        log.warning("first_admin_password_is_short", recommended=PASSWORD_MIN)
    password_hash = await asyncio.to_thread((hasher or PasswordHasher()).hash, secret)
    try:
        async with database.system() as session:
            await _make(session, normal_email(email), password_hash)
    except IntegrityError:
        return False  # another replica made it in the same moment
    log.info("first_admin_made")
    return True


async def _any_user(session: AsyncSession) -> bool:
    return await session.scalar(select(User.id).limit(1)) is not None


async def _make(session: AsyncSession, email: str, password_hash: str) -> None:
    group = await session.scalar(select(Group).where(Group.name == DEFAULT_GROUP))
    if group is None:
        group = new_group(DEFAULT_GROUP, SYSTEM)
        session.add(group)
    user = User(group_id=group.id, created_by=SYSTEM, email=email, display_name="Administrator")
    user.is_system_admin = True
    user.password_hash = password_hash
    user.groups = []
    session.add(user)
    await session.flush()
    await join(session, user, group.id, Role.ADMIN, SYSTEM)
