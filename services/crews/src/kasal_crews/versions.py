"""`/crews/{id}/versions`: what a crew was, and how to have it back."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from kasal_contracts.crew import CrewDocument
from kasal_contracts.errors import NotFoundError
from kasal_contracts.identity import Caller
from kasal_contracts.pages import Page
from kasal_contracts.wire import Frozen, Resource
from kasal_db import owned, page_of
from kasal_runtime.ids import Id
from kasal_runtime.paging import DEFAULT_LIMIT, Cursor, Limit
from kasal_runtime.revisions import IfMatch, set_etag
from kasal_runtime.security import Editor, Viewer
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from .crews import PATH as CREWS
from .crews import rewrite
from .diff import Change, changes
from .documents import CrewOut, crew_out
from .requests import CallersReach, Reading, Writing
from .rows import find, find_to_change
from .surroundings import look_around
from .tables import Crew, CrewVersion
from .validation import admit

PATH = f"{CREWS}/{{crew_id}}/versions"
MAX_DIGITS = 9
router = APIRouter(tags=["crews"])

Number = Annotated[int, Query(ge=1, lt=10**MAX_DIGITS)]


class VersionSummary(Resource):
    crew_id: str
    version: int


class VersionOut(VersionSummary):
    crew: CrewDocument


class VersionDiff(Frozen):
    """What changed from one version to another. An unchanged definition has no changes."""

    from_: int = Field(alias="from")
    to: int
    changes: list[Change]


@router.get(PATH, summary="List the versions of a crew")
async def list_versions(
    crew_id: Id, me: Viewer, session: Reading, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[VersionSummary]:
    crew = await find(session, me, Crew, crew_id, "crew")
    rows = owned(CrewVersion, me).where(CrewVersion.crew_id == crew.id)
    versions, next_cursor = await page_of(session, rows, CrewVersion, limit=limit, cursor=cursor)
    items = [VersionSummary.model_validate(version) for version in versions]
    return Page(items=items, next_cursor=next_cursor)


@router.get(f"{PATH}/diff", summary="Compare two versions of a crew")
async def diff_versions(
    crew_id: Id, me: Viewer, session: Reading, start: Annotated[Number, Query(alias="from")], to: Number
) -> VersionDiff:
    crew = await find(session, me, Crew, crew_id, "crew")
    before = await find_version(session, me, crew, str(start))
    after = await find_version(session, me, crew, str(to))
    return VersionDiff(from_=start, to=to, changes=list(changes(before.definition, after.definition)))


@router.get(f"{PATH}/{{number}}", summary="Read one version of a crew")
async def read_version(crew_id: Id, number: str, me: Viewer, session: Reading, response: Response) -> VersionOut:
    crew = await find(session, me, Crew, crew_id, "crew")
    version = await find_version(session, me, crew, number)
    set_etag(response, version.revision)
    summary = VersionSummary.model_validate(version)
    return VersionOut(**summary.model_dump(), crew=CrewDocument.model_validate(version.definition))


@router.post(f"{PATH}/{{number}}/restore", summary="Make an old version the newest again")
async def restore_version(
    crew_id: Id,
    number: str,
    me: Editor,
    reach: CallersReach,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> CrewOut:
    crew = await find_to_change(session, me, Crew, crew_id, "crew", if_match)
    version = await find_version(session, me, crew, number)
    offer = await look_around(session, me, reach)
    document = admit(version.definition | {"published": list(crew.published)}, offer.around, "crew")
    await rewrite(session, me, crew, document)
    set_etag(response, crew.revision)
    return crew_out(crew)


async def find_version(session: AsyncSession, me: Caller, crew: Crew, number: str) -> CrewVersion:
    """Raises NotFoundError. `number` is whatever stood in the path."""
    version = None
    if number.isascii() and number.isdigit() and len(number) <= MAX_DIGITS:
        rows = owned(CrewVersion, me).where(CrewVersion.crew_id == crew.id, CrewVersion.version == int(number))
        version = await session.scalar(rows)
    if version is None:
        raise NotFoundError("version", number)
    return version
