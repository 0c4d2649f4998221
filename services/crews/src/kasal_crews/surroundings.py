"""What a group offers to its crews at this moment: models, tools, settings."""

from collections.abc import Mapping
from dataclasses import dataclass

from kasal_contracts.identity import Caller
from kasal_db import owned
from kasal_tools import installed_tools
from sqlalchemy.ext.asyncio import AsyncSession

from .configuration import EffectiveSettings, allowed, effective
from .layers import read_layers
from .models import obstacle
from .providers import FACTS, LOCAL_MODEL, SCRIPTED_MODEL, Reach
from .tables import Model
from .validation import Standing, Surroundings

NOT_ALLOWED = "is not allowed in this group; an admin can allow it with PATCH /api/v1/config"
DISABLED = "is disabled; enable it under /api/v1/models or choose another"
PREFERRED = (*(facts.default_model for facts in FACTS.values()), LOCAL_MODEL)


@dataclass(frozen=True)
class Offer:
    """`around` is what validation needs; `models` are the rows by name."""

    settings: EffectiveSettings
    models: Mapping[str, Model]
    around: Surroundings


async def look_around(session: AsyncSession, me: Caller, reach: Reach) -> Offer:
    layers = await read_layers(session, me)
    models = {model.name: model for model in await session.scalars(owned(Model, me))}
    names = allowed(layers.system.allowed_models, layers.group.allowed_models).value
    standings = {
        name: Standing(refusal=_refusal(model, names), caution=obstacle(model, reach)) for name, model in models.items()
    }
    settings = effective(layers.system, layers.group, preferred_model(standings))
    around = Surroundings(
        models=standings,
        tools=tool_standings(settings.allowed_tools.value),
        default_model=settings.default_model.value,
    )
    return Offer(settings=settings, models=models, around=around)


def preferred_model(standings: Mapping[str, Standing]) -> str:
    """Where nobody chose one: a provider whose key is there, then the local model, then the scripted demo."""
    return next((name for name in PREFERRED if standings.get(name) == Standing()), SCRIPTED_MODEL)


def tool_standings(names: list[str] | None) -> dict[str, Standing]:
    return {
        name: Standing(refusal=None if names is None or name in names else NOT_ALLOWED) for name in installed_tools()
    }


def _refusal(model: Model, names: list[str] | None) -> str | None:
    if not model.enabled:
        return DISABLED
    return None if names is None or model.name in names else NOT_ALLOWED
