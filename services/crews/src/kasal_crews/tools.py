"""`/tools`: the installed plug-ins, and how a group has configured them."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated

from fastapi import APIRouter, Body, Response
from kasal_contracts.errors import ConflictError, InvalidError, NotFoundError
from kasal_contracts.executions import ResolvedTool
from kasal_contracts.identity import Caller
from kasal_contracts.pages import Page
from kasal_contracts.wire import Frozen, JsonObject
from kasal_db import owned
from kasal_db.paging import decode_cursor, encode_cursor
from kasal_runtime.bodies import field_errors, refuse_unstorable
from kasal_runtime.paging import DEFAULT_LIMIT, Cursor, Limit
from kasal_runtime.revisions import IfMatch, check_match, set_etag
from kasal_runtime.security import Admin, Viewer
from kasal_tools import Category, Effect, installed_tools
from kasal_tools.plugins import AnyTool
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from .configuration import allowed
from .layers import read_layers
from .requests import Reading, Writing
from .rows import flushed
from .surroundings import tool_standings
from .tables import ToolConfig
from .validation import Standing

PATH = "/api/v1/tools"
NEVER_CONFIGURED = 0
router = APIRouter(tags=["tools"])


class ToolOut(Frozen):
    """A tool as the group uses it. `requires` names keys that the group must hold."""

    name: str
    title: str
    category: Category
    description: str
    config_schema: JsonObject
    config: JsonObject = Field(description="What the group configured, defaults filled in.")
    effect: Effect
    requires: list[str]
    enabled: bool


@cache
def config_schema(plugin: type[AnyTool]) -> JsonObject:
    schema: JsonObject = plugin.Config.model_json_schema()
    return schema


@router.get(PATH, summary="List the installed tools, by name")
async def list_tools(
    me: Viewer, session: Reading, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[ToolOut]:
    after = decode_cursor(cursor) if cursor is not None else ""
    names = sorted(name for name in installed_tools() if name > after)
    standings, configs = await _standings(session, me), await read_configs(session, me)
    items = [tool_out(name, configs.get(name), standings) for name in names[:limit]]
    return Page(items=items, next_cursor=encode_cursor(names[limit - 1]) if len(names) > limit else None)


@router.get(f"{PATH}/{{name}}", summary="Read an installed tool")
async def read_tool(name: str, me: Viewer, session: Reading, response: Response) -> ToolOut:
    _plugin(name)
    configured = (await read_configs(session, me)).get(name)
    set_etag(response, configured.revision if configured else NEVER_CONFIGURED)
    return tool_out(name, configured, await _standings(session, me))


@router.put(f"{PATH}/{{name}}/config", summary="Configure a tool for the group")
async def configure_tool(
    name: str,
    config: Annotated[JsonObject, Body(description="An object that fits the tool's `config_schema`.")],
    me: Admin,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> ToolOut:
    checked = checked_config(_plugin(name), config)
    rows = owned(ToolConfig, me).where(ToolConfig.name == name).with_for_update()
    configured = await session.scalar(rows)
    check_match(if_match, configured.revision if configured else NEVER_CONFIGURED)
    if configured is None:
        configured = ToolConfig(group_id=me.group_id, created_by=me.user_id, name=name)
        session.add(configured)
    configured.config = checked.model_dump(mode="json")
    try:
        await flushed(session, configured)
    except IntegrityError as error:
        raise ConflictError("somebody configured this tool at the same moment; look and repeat") from error
    set_etag(response, configured.revision)
    return tool_out(name, configured, await _standings(session, me))


def checked_config(plugin: type[AnyTool], config: JsonObject) -> BaseModel:
    """Raises InvalidError where `config` is not what the plug-in takes."""
    refuse_unstorable(config)
    try:
        return plugin.Config.model_validate(config)
    except ValidationError as error:
        raise InvalidError("the tool does not take this configuration", errors=field_errors(error)) from error


async def read_configs(session: AsyncSession, me: Caller) -> dict[str, ToolConfig]:
    """What the group has configured, by the tool's name."""
    return {row.name: row for row in await session.scalars(owned(ToolConfig, me))}


def resolved_tool(name: str, configured: ToolConfig | None) -> ResolvedTool:
    """An installed tool as an execution uses it."""
    plugin = installed_tools()[name]
    config = plugin.Config.model_validate(configured.config if configured else {})
    return ResolvedTool(
        name=name, plugin=plugin.name, config=config.model_dump(mode="json"), effect=plugin.effect_of(config)
    )


def tool_out(name: str, configured: ToolConfig | None, standings: Mapping[str, Standing]) -> ToolOut:
    plugin, resolved = installed_tools()[name], resolved_tool(name, configured)
    return ToolOut(
        name=name,
        title=plugin.title,
        category=plugin.category,
        description=plugin.description,
        config_schema=config_schema(plugin),
        config=resolved.config,
        effect=resolved.effect,
        requires=list(plugin.requires),
        enabled=standings[name].refusal is None,
    )


def _plugin(name: str) -> type[AnyTool]:
    """Raises NotFoundError."""
    plugin = installed_tools().get(name)
    if plugin is None:
        raise NotFoundError("tool", name)
    return plugin


async def _standings(session: AsyncSession, me: Caller) -> Mapping[str, Standing]:
    layers = await read_layers(session, me)
    return tool_standings(allowed(layers.system.allowed_tools, layers.group.allowed_tools).value)
