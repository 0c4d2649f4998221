"""The models that every group begins with. `catalogue.json` holds list prices in US dollars and context windows."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from kasal_contracts.identity import Caller
from kasal_contracts.ids import new_id
from kasal_contracts.wire import Frozen
from kasal_db import Database, owned
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from .forms import ModelForm
from .tables import GroupSettings, Model

FILE = Path(__file__).parent / "catalogue.json"
GIVEN_BY = "system"


class Edition(Frozen):
    """Raise `edition` with each change: groups then get what they do not have yet."""

    edition: int
    models: list[ModelForm]


@cache
def newest_edition() -> Edition:
    return Edition.model_validate_json(FILE.read_bytes())


@dataclass
class Catalogue:
    """Gives each group the catalogue once. What people change or delete afterwards stays as they left it."""

    database: Database
    _given: set[str] = field(default_factory=set)

    async def give(self, me: Caller) -> None:
        """The group of `me` has the newest edition afterwards. Cheap after the first time."""
        if me.group_id in self._given:
            return
        try:
            async with self.database.tenant(me) as session:
                await _add_missing(session, me, newest_edition())
        except IntegrityError:
            # Another replica was quicker; the next request looks again.
            return
        self._given.add(me.group_id)


async def _add_missing(session: AsyncSession, me: Caller, newest: Edition) -> None:
    settings = await session.scalar(owned(GroupSettings, me))
    if settings is None:
        settings = GroupSettings(group_id=me.group_id, created_by=GIVEN_BY, catalogue=0, layer={})
        session.add(settings)
    if settings.catalogue >= newest.edition:
        return
    settings.catalogue = newest.edition
    await session.flush()
    present = {model.name for model in await session.scalars(owned(Model, me))}
    missing = [form for form in newest.models if form.name not in present]
    # Lists show the newest first; descending ids keep the order of the file.
    ids = sorted((new_id() for _ in missing), reverse=True)
    for row_id, form in zip(ids, missing, strict=True):
        session.add(Model(id=row_id, group_id=me.group_id, created_by=GIVEN_BY, **form.columns()))
