"""`/tools`: the installed plug-ins, and how a group has configured them."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Body, Response
from kasal_contracts.errors import InvalidError, NotFoundError
from kasal_contracts.executions import ResolvedTool
from kasal_contracts.identity import Caller
from kasal_contracts.pages import Page
from kasal_contracts.problems import FieldError
from kasal_contracts.wire import Frozen, JsonObject
from kasal_db import owned
from kasal_db.paging import decode_cursor, encode_cursor
from kasal_runtime.paging import DEFAULT_LIMIT, Cursor, Limit
from kasal_runtime.revisions import IfMatch, check_match, set_etag
from kasal_runtime.security import Admin, Viewer
from kasal_tools import Category, Effect, installed_tools
from kasal_tools.plugins import AnyTool
from pydantic import Field, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from .bodies import field_errors, unstorable
from .config import read_layers
from .configuration import allowed
from .requests import Reading, Writing
from .rows import flushed
from .tables import ToolConfig

PATH = "/api/v1/tools"
NO_REVISION = 0
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
