"""Tables of the auth service. Secrets are hashed (passwords, tokens) or encrypted (provider and signing keys)."""

from datetime import datetime
from typing import Any

from kasal_contracts.identity import Role
from kasal_contracts.ids import new_id
from kasal_db import Base, Json, Owned, db_now
from sqlalchemy import ForeignKey, MetaData, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

SYSTEM_ADMIN = "system_admin"


class AuthTable(Base):
    __abstract__ = True
    metadata = MetaData()


class User(Owned, AuthTable):
    """A person. `group_id` is the group in which the account was made; it gives no right.

    `groups` are the ids of the groups the user is in, in the order of joining: the first is active by default.
    `permissions` are rights beyond any group, separated by spaces. Without `password_hash` no password works.
    """

    __tablename__ = "users"

    id: Mapped[str] = mapped_column("user_id", String(64), primary_key=True, default=new_id)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    display_name: Mapped[str] = mapped_column(String(200), default="")
    password_hash: Mapped[str | None] = mapped_column(String(300), deferred=True)
    groups: Mapped[list[str]] = mapped_column(Json, default=list)
    preferences: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    permissions: Mapped[str] = mapped_column(String(200), default="")
    disabled: Mapped[bool] = mapped_column(default=False)

    @property
    def is_system_admin(self) -> bool:
        return SYSTEM_ADMIN in self.permissions.split()

    @is_system_admin.setter
    def is_system_admin(self, value: bool) -> None:
        self.permissions = SYSTEM_ADMIN if value else ""


class Group(Owned, AuthTable):
    """Owns everything that people make. Its `group_id` is its own id."""

    __tablename__ = "groups"

    name: Mapped[str] = mapped_column(String(100), unique=True)
    description: Mapped[str] = mapped_column(String(2000), default="")


class Membership(Owned, AuthTable):
    """A user's role in a group."""

    __tablename__ = "memberships"
    __table_args__ = (UniqueConstraint("group_id", "user_id"),)

    group_id: Mapped[str] = mapped_column(ForeignKey("groups.id", ondelete="CASCADE"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.user_id", ondelete="CASCADE"), index=True)
    role: Mapped[Role] = mapped_column(String(16))


class LoginSession(AuthTable):
    """A family of refresh tokens, from one login to its logout."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(String(64), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.user_id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=db_now())
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class RefreshToken(AuthTable):
    """One refresh token, by its SHA-256. A used one that comes back ends its session."""

    __tablename__ = "refresh_tokens"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]


class Ticket(AuthTable):
    """A one-use ticket, by its SHA-256. Using it deletes it."""

    __tablename__ = "tickets"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), index=True)
    group_id: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[datetime] = mapped_column(index=True)


class LoginAttempt(AuthTable):
    """A login that failed, or is not decided yet. `subject` is the SHA-256 of account and address."""

    __tablename__ = "login_attempts"

    id: Mapped[str] = mapped_column(String(64), primary_key=True, default=new_id)
    subject: Mapped[str] = mapped_column(String(64), index=True)
    at: Mapped[datetime] = mapped_column(default=db_now(), index=True)


class ApiKey(Owned, AuthTable):
    """A provider's key. `value` is encrypted and bound to group and name; `version` counts the values."""

    __tablename__ = "api_keys"
    __table_args__ = (UniqueConstraint("group_id", "name"),)

    group_id: Mapped[str] = mapped_column(ForeignKey("groups.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(128))
    description: Mapped[str] = mapped_column(String(2000), default="")
    value: Mapped[str] = mapped_column(Text, deferred=True)
    hint: Mapped[str] = mapped_column(String(4))
    version: Mapped[int] = mapped_column(default=1)
    expires_at: Mapped[datetime | None]


class SigningKey(AuthTable):
    """An Ed25519 key pair: `public` is the raw key as base64url, `private` is encrypted. `id` is the `kid`."""

    __tablename__ = "signing_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True, default=new_id)
    public: Mapped[str] = mapped_column(String(64))
    private: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=db_now())


class RevokedSubject(AuthTable):
    """Tokens of `subject` that were issued before `before` are dead."""

    __tablename__ = "revocations"

    id: Mapped[str] = mapped_column(String(64), primary_key=True, default=new_id)
    subject: Mapped[str] = mapped_column(String(200))
    before: Mapped[datetime] = mapped_column(default=db_now(), index=True)
