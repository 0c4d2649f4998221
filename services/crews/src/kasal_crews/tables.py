"""Tables of the crews service."""

from datetime import datetime

from kasal_contracts.ids import new_id
from kasal_contracts.wire import JsonObject
from kasal_db import Base, Owned, db_now
from sqlalchemy import JSON, Float, ForeignKey, MetaData, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

# Not JSONB: it forgets the order of keys, and the order of inputs and of a schema's properties is the author's.
Document = JSON(none_as_null=True)


class CrewsTable(Base):
    __abstract__ = True
    metadata = MetaData()


class Crew(Owned, CrewsTable):
    """The newest definition of a crew. `version` is the number of its newest row in `crew_versions`."""

    __tablename__ = "crews"

    id: Mapped[str] = mapped_column("crew_id", String(64), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text)
    process: Mapped[str] = mapped_column(String(20))
    agents: Mapped[list[JsonObject]] = mapped_column(Document)
    tasks: Mapped[list[JsonObject]] = mapped_column(Document)
    configuration: Mapped[JsonObject] = mapped_column(Document)
    inputs: Mapped[JsonObject] = mapped_column(Document)
    layout: Mapped[JsonObject] = mapped_column(Document)
    published: Mapped[list[str]] = mapped_column(Document)
    version: Mapped[int]


class CrewVersion(Owned, CrewsTable):
    """One definition, as it was; rows are never changed."""

    __tablename__ = "crew_versions"
    __table_args__ = (UniqueConstraint("crew_id", "version", name="uq_crew_versions_number"),)

    crew_id: Mapped[str] = mapped_column(String(64), ForeignKey("crews.crew_id", ondelete="CASCADE"))
    version: Mapped[int]
    definition: Mapped[JsonObject] = mapped_column(Document)


class Model(Owned, CrewsTable):
    """A language model that the group's agents may name."""

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("group_id", "name", name="uq_models_name"),)

    name: Mapped[str] = mapped_column(String(200))
    title: Mapped[str] = mapped_column(String(200))
    provider: Mapped[str] = mapped_column(String(40))
    model: Mapped[str] = mapped_column(String(200))
    base_url: Mapped[str | None] = mapped_column(Text)
    api_key_name: Mapped[str | None] = mapped_column(String(200))
    temperature: Mapped[float | None] = mapped_column(Float)
    context_window: Mapped[int]
    max_tokens: Mapped[int | None]
    extra: Mapped[JsonObject] = mapped_column(Document)
    price: Mapped[JsonObject | None] = mapped_column(Document)
    enabled: Mapped[bool]


class ToolConfig(Owned, CrewsTable):
    """How a group has configured an installed tool."""

    __tablename__ = "tool_configs"
    __table_args__ = (UniqueConstraint("group_id", "name", name="uq_tool_configs_name"),)

    name: Mapped[str] = mapped_column(String(200))
    config: Mapped[JsonObject] = mapped_column(Document)


class LibraryRow(Owned, CrewsTable):
    """Something saved on its own, to copy into crews."""

    __abstract__ = True

    document: Mapped[JsonObject] = mapped_column(Document)


class LibraryAgent(LibraryRow):
    __tablename__ = "agents"


class LibraryTask(LibraryRow):
    __tablename__ = "tasks"


class GroupSettings(Owned, CrewsTable):
    """What a group has set. `catalogue` is the edition of the model catalogue that it was given last."""

    __tablename__ = "settings"
    __table_args__ = (UniqueConstraint("group_id", name="uq_settings_group"),)

    catalogue: Mapped[int]
    layer: Mapped[JsonObject] = mapped_column(Document)


class SystemSettings(CrewsTable):
    """What a system administrator has set for all groups: one row, made by the first migration."""

    __tablename__ = "system_settings"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    layer: Mapped[JsonObject] = mapped_column(Document)
    updated_at: Mapped[datetime] = mapped_column(default=db_now(), onupdate=db_now())
    revision: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": revision}
