"""`/config`: the settings of the active group and of the whole system."""

from collections.abc import Collection, Iterable, Iterator

from fastapi import APIRouter, Response
from kasal_contracts.errors import InvalidError
from kasal_contracts.identity import Caller
from kasal_contracts.problems import FieldError
from kasal_contracts.wire import JsonObject
from kasal_db import owned
from kasal_runtime.bodies import MergePatch, near, patched
from kasal_runtime.revisions import IfMatch, check_match, set_etag
from kasal_runtime.security import Admin, SystemAdmin, Viewer
from kasal_tools import installed_tools
from sqlalchemy.ext.asyncio import AsyncSession

from .configuration import EffectiveSettings, SettingsLayer, effective
from .layers import group_settings, system_settings
from .providers import Reach
from .requests import CallersReach, Reading, Writing
from .surroundings import look_around, preferred_model
from .tables import Model

PATH = "/api/v1/config"
router = APIRouter(tags=["configuration"])


@router.get(PATH, summary="Read the effective settings of the active group")
async def read_config(me: Viewer, reach: CallersReach, session: Reading, response: Response) -> EffectiveSettings:
    offer = await look_around(session, me, reach)
    set_etag(response, (await group_settings(session, me)).revision)
    return offer.settings


@router.patch(PATH, summary="Change the settings of the active group")
async def change_config(
    patch: MergePatch,
    me: Admin,
    reach: CallersReach,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> EffectiveSettings:
    settings = await group_settings(session, me, to_change=True)
    check_match(if_match, settings.revision)
    layer = patched(SettingsLayer, settings.layer, patch)
    models = {model.name for model in await session.scalars(owned(Model, me))}
    _refuse_unknown(layer, patch, models)
    settings.layer = _stored(layer)
    await session.flush()
    offer = await look_around(session, me, reach)
    set_etag(response, settings.revision)
    return offer.settings


@router.get(f"{PATH}/system", summary="Read the settings of the whole system")
async def read_system_config(
    me: SystemAdmin, reach: CallersReach, session: Reading, response: Response
) -> EffectiveSettings:
    settings = await system_settings(session)
    set_etag(response, settings.revision)
    return await _of_system(session, me, reach, settings.layer)


@router.patch(f"{PATH}/system", summary="Change the settings of the whole system")
async def change_system_config(
    patch: MergePatch,
    me: SystemAdmin,
    reach: CallersReach,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> EffectiveSettings:
    settings = await system_settings(session, to_change=True)
    check_match(if_match, settings.revision)
    layer = patched(SettingsLayer, settings.layer, patch)
    _refuse_unknown(layer, patch, None)
    settings.layer = _stored(layer)
    await session.flush()
    set_etag(response, settings.revision)
    return await _of_system(session, me, reach, settings.layer)


async def _of_system(session: AsyncSession, me: Caller, reach: Reach, layer: JsonObject) -> EffectiveSettings:
    offer = await look_around(session, me, reach)
    return effective(SettingsLayer.model_validate(layer), SettingsLayer(), preferred_model(offer.around.models))


def _stored(layer: SettingsLayer) -> JsonObject:
    content: JsonObject = layer.model_dump(mode="json", exclude_none=True)
    return content


def _refuse_unknown(layer: SettingsLayer, patch: JsonObject, models: Collection[str] | None) -> None:
    """Raises InvalidError for a name in `patch` that nothing has. `models` of None are not known: groups differ."""
    errors: list[FieldError] = []
    if models is not None:
        errors += _unknown("model", "default_model", [layer.default_model] if layer.default_model else [], models)
        errors += _unknown("model", "allowed_models", layer.allowed_models or [], models)
    errors += _unknown("tool", "allowed_tools", layer.allowed_tools or [], installed_tools())
    touched = [error for error in errors if error.loc[1] in patch]
    if touched:
        raise InvalidError(touched[0].msg, errors=touched)


def _unknown(kind: str, field: str, names: Iterable[str], known: Collection[str]) -> Iterator[FieldError]:
    for name in names:
        if name not in known:
            yield FieldError(loc=["body", field], msg=f"there is no {kind} {name!r}{near(name, known)}")
