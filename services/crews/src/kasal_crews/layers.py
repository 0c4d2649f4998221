"""The stored layers of settings."""

from dataclasses import dataclass

from kasal_contracts.identity import Caller
from kasal_db import owned
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from .configuration import SettingsLayer
from .tables import GroupSettings, SystemSettings

SYSTEM = "system"


@dataclass(frozen=True)
class Layers:
    system: SettingsLayer
    group: SettingsLayer


async def read_layers(session: AsyncSession, me: Caller) -> Layers:
    rows = owned(GroupSettings, me).join(SystemSettings, SystemSettings.id == SYSTEM).add_columns(SystemSettings)
    group, system = (await session.execute(rows)).one()
    return Layers(SettingsLayer.model_validate(system.layer), SettingsLayer.model_validate(group.layer))


async def system_settings(session: AsyncSession, *, to_change: bool = False) -> SystemSettings:
    """`to_change` lets other writers wait."""
    rows = select(SystemSettings).where(SystemSettings.id == SYSTEM)
    return (await session.scalars(rows.with_for_update() if to_change else rows)).one()


async def group_settings(session: AsyncSession, me: Caller, *, to_change: bool = False) -> GroupSettings:
    """`to_change` lets other writers wait. The row is there since the group was given the catalogue."""
    rows = owned(GroupSettings, me)
    return (await session.scalars(rows.with_for_update() if to_change else rows)).one()
