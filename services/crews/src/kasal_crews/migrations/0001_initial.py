"""Crews and their versions, models, tool configurations, settings, the library."""

import sqlalchemy as sa
from alembic import op
from kasal_db.columns import UtcDateTime, db_now

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

OWNED_TABLES = ("crews", "crew_versions", "models", "tool_configs", "settings", "agents", "tasks")


def owned_columns(key: str = "id") -> list[sa.Column]:
    return [
        sa.Column(key, sa.String(64), primary_key=True),
        sa.Column("group_id", sa.String(64), nullable=False, index=True),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
    ]


def upgrade() -> None:
    op.create_table(
        "crews",
        *owned_columns("crew_id"),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("process", sa.String(20), nullable=False),
        sa.Column("agents", sa.JSON(), nullable=False),
        sa.Column("tasks", sa.JSON(), nullable=False),
        sa.Column("configuration", sa.JSON(), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("layout", sa.JSON(), nullable=False),
        sa.Column("published", sa.JSON(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
    )
    op.create_table(
        "crew_versions",
        *owned_columns(),
        sa.Column("crew_id", sa.String(64), sa.ForeignKey("crews.crew_id", ondelete="CASCADE"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.UniqueConstraint("crew_id", "version", name="uq_crew_versions_number"),
    )
    op.create_table(
        "models",
        *owned_columns(),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("provider", sa.String(40), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=True),
        sa.Column("api_key_name", sa.String(200), nullable=True),
        sa.Column("temperature", sa.Float(), nullable=True),
        sa.Column("context_window", sa.Integer(), nullable=False),
        sa.Column("max_tokens", sa.Integer(), nullable=True),
        sa.Column("extra", sa.JSON(), nullable=False),
        sa.Column("price", sa.JSON(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.UniqueConstraint("group_id", "name", name="uq_models_name"),
    )
    op.create_table(
        "tool_configs",
        *owned_columns(),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.UniqueConstraint("group_id", "name", name="uq_tool_configs_name"),
    )
    op.create_table(
        "settings",
        *owned_columns(),
        sa.Column("catalogue", sa.Integer(), nullable=False),
        sa.Column("layer", sa.JSON(), nullable=False),
        sa.UniqueConstraint("group_id", name="uq_settings_group"),
    )
    for table in ("agents", "tasks"):
        op.create_table(table, *owned_columns(), sa.Column("document", sa.JSON(), nullable=False))
    system_settings = op.create_table(
        "system_settings",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("layer", sa.JSON(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
    )
    only_row = sa.insert(system_settings).values(id="system", layer={}, updated_at=db_now(), revision=1)
    op.execute(only_row)


def downgrade() -> None:
    op.drop_table("system_settings")
    for table in reversed(OWNED_TABLES):
        op.drop_table(table)
