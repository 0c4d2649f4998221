"""`/crews`: crews, saved and checked."""

from typing import Annotated

from fastapi import APIRouter, Body, Response
from kasal_contracts.crew import CrewProblem
from kasal_contracts.identity import Caller
from kasal_contracts.pages import Page
from kasal_contracts.wire import Frozen, JsonObject
from kasal_db import owned, page_of
from kasal_runtime.bodies import MergePatch, patched
from kasal_runtime.ids import Id
from kasal_runtime.paging import DEFAULT_LIMIT, Cursor, Limit
from kasal_runtime.revisions import IfMatch, set_etag
from kasal_runtime.security import Editor, Viewer
from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncSession

from .documents import CrewIn, CrewOut, crew_out, written_form
from .providers import Reach
from .requests import CallersReach, Reading, Writing
from .rows import find, find_to_change, flushed
from .surroundings import look_around
from .tables import Crew, CrewVersion
from .validation import check, examine, refuse_errors

PATH = "/api/v1/crews"
router = APIRouter(tags=["crews"])


class Verdict(Frozen):
    """`valid` is false exactly when a problem is an error; warnings do not keep a crew from being saved or run."""

    valid: bool
    problems: list[CrewProblem]


@router.post(f"{PATH}/validate", summary="Say what is wrong with a crew, without saving it")
async def validate_crew(
    document: Annotated[JsonValue, Body(description="A crew document, or what is meant to become one.")],
    me: Viewer,
    reach: CallersReach,
    session: Reading,
) -> Verdict:
    offer = await look_around(session, me, reach)
    findings = examine(document, offer.around)
    valid = not any(finding.is_error for finding in findings)
    return Verdict(valid=valid, problems=[finding.problem() for finding in findings])


@router.get(PATH, summary="List the group's crews")
async def list_crews(
    me: Viewer, session: Reading, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[CrewOut]:
    crews, next_cursor = await page_of(session, owned(Crew, me), Crew, limit=limit, cursor=cursor)
    return Page(items=[crew_out(crew) for crew in crews], next_cursor=next_cursor)


@router.post(PATH, status_code=201, summary="Save a crew")
async def create_crew(
    document: CrewIn, me: Editor, reach: CallersReach, session: Writing, response: Response
) -> CrewOut:
    await refuse_unfit(session, me, document, reach)
    crew = await add_crew(session, me, document)
    response.headers["Location"] = f"{PATH}/{crew.id}"
    set_etag(response, crew.revision)
    return crew_out(crew)


@router.get(f"{PATH}/{{crew_id}}", summary="Read a crew")
async def read_crew(crew_id: Id, me: Viewer, session: Reading, response: Response) -> CrewOut:
    crew = await find(session, me, Crew, crew_id, "crew")
    set_etag(response, crew.revision)
    return crew_out(crew)


@router.put(f"{PATH}/{{crew_id}}", summary="Replace a crew")
async def replace_crew(
    crew_id: Id,
    document: CrewIn,
    me: Editor,
    reach: CallersReach,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> CrewOut:
    crew = await find_to_change(session, me, Crew, crew_id, "crew", if_match)
    await refuse_unfit(session, me, document, reach)
    await rewrite(session, me, crew, document)
    set_etag(response, crew.revision)
    return crew_out(crew)


@router.patch(f"{PATH}/{{crew_id}}", summary="Change parts of a crew (JSON merge patch)")
async def change_crew(
    crew_id: Id,
    patch: MergePatch,
    me: Editor,
    reach: CallersReach,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> CrewOut:
    crew = await find_to_change(session, me, Crew, crew_id, "crew", if_match)
    document = patched(CrewIn, written_form(crew), patch)
    await refuse_unfit(session, me, document, reach)
    await rewrite(session, me, crew, document)
    set_etag(response, crew.revision)
    return crew_out(crew)


@router.delete(f"{PATH}/{{crew_id}}", status_code=204, summary="Delete a crew and its versions")
async def delete_crew(crew_id: Id, me: Editor, session: Writing, if_match: IfMatch = None) -> None:
    crew = await find_to_change(session, me, Crew, crew_id, "crew", if_match)
    await session.delete(crew)


async def refuse_unfit(session: AsyncSession, me: Caller, document: CrewIn, reach: Reach) -> None:
    """Raises InvalidError that names every error in `document`."""
    offer = await look_around(session, me, reach)
    refuse_errors(check(document, offer.around), "body")


async def add_crew(session: AsyncSession, me: Caller, document: CrewIn) -> Crew:
    """Save `document` with its first version."""
    definition = document.definition()
    crew = Crew(group_id=me.group_id, created_by=me.user_id, version=1, published=document.published, **definition)
    session.add(crew)
    await flushed(session, crew)
    session.add(version_of(crew, me, definition))
    return crew


async def rewrite(session: AsyncSession, me: Caller, crew: Crew, document: CrewIn) -> None:
    """Make `crew` what `document` says. A changed definition becomes the next version; a moved layout does not.

    `crew` was found to be changed: its row is locked, so no two changes take the same number.
    """
    before, after = comparable(written_form(crew)), document.definition()
    for field, value in after.items():
        setattr(crew, field, value)
    crew.published = list(document.published)
    if comparable(after) != before:
        crew.version += 1
        session.add(version_of(crew, me, after))
    await flushed(session, crew)


def version_of(crew: Crew, me: Caller, definition: JsonObject) -> CrewVersion:
    return CrewVersion(
        group_id=me.group_id, created_by=me.user_id, crew_id=crew.id, version=crew.version, definition=definition
    )


def comparable(definition: JsonObject) -> JsonObject:
    """The part of a definition that decides whether there is a new version."""
    return {name: value for name, value in definition.items() if name not in {"layout", "published"}}
