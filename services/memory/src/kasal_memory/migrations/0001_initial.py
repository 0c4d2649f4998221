"""Memory records, and the clock that numbers their changes."""

import sqlalchemy as sa
from alembic import op
from kasal_contracts.ids import new_id
from kasal_db.columns import Json, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "memory_records",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("group_id", sa.String(64), nullable=False, index=True),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("crew_id", sa.String(64)),
        sa.Column("identity", sa.String(128)),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("agent", sa.String(200)),
        sa.Column("session_id", sa.String(200)),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("entity", sa.String(200)),
        sa.Column("metadata", Json, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("embedder_id", sa.String(100), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("group_id", "digest", name="uq_memory_records_digest"),
        sa.UniqueConstraint("change", name="uq_memory_records_change"),
    )
    op.create_index("ix_memory_records_crew", "memory_records", ["group_id", "crew_id", "identity"])
    clock = op.create_table(
        "memory_clock",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("lineage", sa.String(64), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
    )
    op.bulk_insert(clock, [{"id": 1, "lineage": new_id(), "value": 0}])


def downgrade() -> None:
    op.drop_table("memory_clock")
    op.drop_table("memory_records")
