"""`/config`: the settings of the active group and of the whole system."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Body, Response
from kasal_contracts.errors import InvalidError
from kasal_contracts.identity import Caller
from kasal_contracts.problems import FieldError
from kasal_contracts.wire import JsonObject
from kasal_db import owned
from kasal_runtime.revisions import IfMatch, check_match, set_etag
from kasal_runtime.security import Admin, SystemAdmin, Viewer
from kasal_tools import installed_tools
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from .bodies import near, patched
from .configuration import EffectiveSettings, SettingsLayer, effective
from .providers import FACTS, LOCAL_MODEL, SCRIPTED_MODEL, local_model_installed
from .requests import HeldKeys, Reading, Writing
from .tables import GroupSettings, Model, SystemSettings

PATH = "/api/v1/config"
SYSTEM = "system"
router = APIRouter(tags=["configuration"])


@dataclass(frozen=True)
class Layers:
    """Both layers and the rows that hold them."""

    system_row: SystemSettings
    group_row: GroupSettings

    @property
    def system(self) -> SettingsLayer:
        return SettingsLayer.model_validate(self.system_row.layer)

    @property
    def group(self) -> SettingsLayer:
        return SettingsLayer.model_validate(self.group_row.layer)


async def read_layers(session: AsyncSession, me: Caller, *, to_change: bool = False) -> Layers:
    """`to_change` lets other writers of the same rows wait."""
    group, system = owned(GroupSettings, me), select(SystemSettings).where(SystemSettings.id == SYSTEM)
    if to_change:
        group, system = group.with_for_update(), system.with_for_update()
    return Layers(system_row=(await session.scalars(system)).one(), group_row=(await session.scalars(group)).one())
