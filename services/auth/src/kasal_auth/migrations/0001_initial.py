"""People, groups, sessions and keys."""

import sqlalchemy as sa
from alembic import op
from kasal_db.columns import Json, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "groups",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("group_id", sa.String(64), nullable=False, index=True),
        sa.Column("name", sa.String(100), nullable=False, unique=True),
        sa.Column("description", sa.String(2000), nullable=False),
        *_history(),
    )
    op.create_table(
        "users",
        sa.Column("user_id", sa.String(64), primary_key=True),
        sa.Column("group_id", sa.String(64), nullable=False, index=True),
        sa.Column("email", sa.String(254), nullable=False, unique=True),
        sa.Column("display_name", sa.String(200), nullable=False),
        sa.Column("password_hash", sa.String(300)),
        sa.Column("groups", Json, nullable=False),
        sa.Column("preferences", Json, nullable=False),
        sa.Column("permissions", sa.String(200), nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        *_history(),
    )
    op.create_table(
        "memberships",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("group_id", sa.String(64), sa.ForeignKey("groups.id", ondelete="CASCADE"), nullable=False),
        _user_id(),
        sa.Column("role", sa.String(16), nullable=False),
        *_history(),
        sa.UniqueConstraint("group_id", "user_id"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("group_id", sa.String(64), sa.ForeignKey("groups.id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("description", sa.String(2000), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("hint", sa.String(4), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("expires_at", UtcDateTime),
        *_history(),
        sa.UniqueConstraint("group_id", "name"),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(64), primary_key=True),
        _user_id(),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime),
    )
    op.create_table(
        "refresh_tokens",
        sa.Column("digest", sa.String(64), primary_key=True),
        _session_id(),
        sa.Column("expires_at", UtcDateTime, nullable=False, index=True),
        sa.Column("used_at", UtcDateTime),
    )
    op.create_table(
        "tickets",
        sa.Column("digest", sa.String(64), primary_key=True),
        _session_id(),
        sa.Column("group_id", sa.String(64), nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False, index=True),
    )
    op.create_table(
        "login_attempts",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("subject", sa.String(64), nullable=False, index=True),
        sa.Column("at", UtcDateTime, nullable=False, index=True),
    )
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("public", sa.String(64), nullable=False),
        sa.Column("private", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "revocations",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("before", UtcDateTime, nullable=False, index=True),
    )


def _history() -> list[sa.Column]:
    return [
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
    ]


def _user_id() -> sa.Column:
    user = sa.ForeignKey("users.user_id", ondelete="CASCADE")
    return sa.Column("user_id", sa.String(64), user, nullable=False, index=True)


def _session_id() -> sa.Column:
    session = sa.ForeignKey("sessions.id", ondelete="CASCADE")
    return sa.Column("session_id", sa.String(64), session, nullable=False, index=True)


def downgrade() -> None:
    for table in (
        "revocations", "signing_keys", "login_attempts", "tickets", "refresh_tokens", "sessions", "api_keys",
        "memberships", "users", "groups",
    ):
        op.drop_table(table)
