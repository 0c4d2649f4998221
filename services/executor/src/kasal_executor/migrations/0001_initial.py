"""Executions, their events, and who works on them."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from kasal_db.columns import Json, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

WAITS_FOR_A_WORKER = sa.text("status in ('queued', 'retrying')")
IS_RUNNING = sa.text("status = 'running'")


def upgrade() -> None:
    _executions()
    _events()
    _histories()
    _workers()


def _executions() -> None:
    op.create_table(
        "execution_history",
        sa.Column("execution_id", sa.String(64), primary_key=True),
        sa.Column("crew_id", sa.String(64), index=True),
        sa.Column("version", sa.Integer),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("priority", sa.String(8), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("inputs", Json, nullable=False),
        sa.Column("limits", Json, nullable=False),
        sa.Column("labels", Json, nullable=False),
        sa.Column("snapshot", Json, nullable=False),
        sa.Column("result", Json),
        sa.Column("error", Json),
        sa.Column("usage", Json, nullable=False),
        sa.Column("resource_usage", Json, nullable=False),
        sa.Column("parent_id", sa.String(64)),
        sa.Column("trace_id", sa.String(32), nullable=False),
        sa.Column("traceparent", sa.String(64)),
        sa.Column("queued_at", UtcDateTime, nullable=False),
        sa.Column("queue_reason", sa.String(200)),
        sa.Column("available_at", UtcDateTime, nullable=False),
        sa.Column("published_at", UtcDateTime),
        sa.Column("start_time", UtcDateTime),
        sa.Column("end_time", UtcDateTime),
        sa.Column("cancel_asked_at", UtcDateTime),
        sa.Column("worker_id", sa.String(64)),
        sa.Column("lease_until", UtcDateTime),
        sa.Column("lost_leases", sa.Integer, nullable=False),
        sa.Column("last_event_id", sa.Integer, nullable=False),
        sa.Column("last_seq", sa.Integer, nullable=False),
        *_ownership(),
        sa.Index("ix_execution_due", "available_at", postgresql_where=WAITS_FOR_A_WORKER, sqlite_where=WAITS_FOR_A_WORKER),
        sa.Index("ix_execution_leased", "lease_until", postgresql_where=IS_RUNNING, sqlite_where=IS_RUNNING),
        sa.Index("ix_execution_group_newest", "group_id", "execution_id"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("body_hash", sa.String(64), nullable=False),
        sa.Column("execution_id", sa.String(64), nullable=False),
        *_ownership(),
    )


def _events() -> None:
    op.create_table(
        "execution_events",
        _execution_id(primary_key=True),
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer),
        sa.Column("ts", UtcDateTime, nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("task", sa.String(64)),
        sa.Column("agent", sa.String(64)),
        sa.Column("span_id", sa.String(16)),
        sa.Column("parent_span_id", sa.String(16)),
        sa.Column("data", Json, nullable=False),
    )
    op.create_table(
        "execution_early_events",
        _execution_id(primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("first_seq", sa.Integer, primary_key=True),
        sa.Column("message", Json, nullable=False),
    )


def _histories() -> None:
    op.create_table(
        "execution_trace",
        sa.Column("id", sa.String(64), primary_key=True),
        _execution_id(index=True),
        sa.Column("trace_id", sa.String(32), nullable=False),
        sa.Column("span_id", sa.String(16), nullable=False),
        sa.Column("parent_span_id", sa.String(16)),
        sa.Column("operation", sa.String(200), nullable=False),
        sa.Column("start", UtcDateTime, nullable=False),
        sa.Column("duration", sa.Double),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("metadata", Json, nullable=False),
        *_ownership(),
    )
    op.create_table(
        "execution_logs",
        sa.Column("id", sa.String(64), primary_key=True),
        _execution_id(index=True),
        sa.Column("timestamp", UtcDateTime, nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("context", Json, nullable=False),
        *_ownership(),
    )


def _workers() -> None:
    op.create_table(
        "workers",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("host", sa.String(200), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("running", sa.Integer, nullable=False),
        sa.Column("draining", sa.Boolean, nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("beat_at", UtcDateTime, nullable=False),
    )
    leader = op.create_table(
        "leader",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("until", UtcDateTime, nullable=False),
    )
    # The one row, held by nobody: taking the lead is always an update.
    op.bulk_insert(leader, [{"id": 1, "holder": "", "until": datetime.fromtimestamp(0, UTC)}])


def downgrade() -> None:
    for table in (
        "leader",
        "workers",
        "execution_logs",
        "execution_trace",
        "execution_early_events",
        "execution_events",
        "idempotency_keys",
        "execution_history",
    ):
        op.drop_table(table)


def _execution_id(*, primary_key: bool = False, index: bool = False) -> sa.Column[str]:
    return sa.Column(
        "execution_id",
        sa.String(64),
        sa.ForeignKey("execution_history.execution_id", ondelete="CASCADE"),
        primary_key=primary_key,
        nullable=False,
        index=index,
    )


def _ownership() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("group_id", sa.String(64), nullable=False, index=True),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
    )
