"""`/agents`: agents that are saved on their own, to copy into crews."""

from fastapi import APIRouter, Response
from kasal_contracts.crew import AgentSpec
from kasal_contracts.pages import Page
from kasal_contracts.wire import Resource
from kasal_runtime.bodies import MergePatch, Writable, patched
from kasal_runtime.ids import Id
from kasal_runtime.paging import DEFAULT_LIMIT, Cursor, Limit
from kasal_runtime.revisions import IfMatch, set_etag
from kasal_runtime.security import Editor, Viewer

from . import library
from .requests import Reading, Writing
from .rows import find, find_to_change
from .tables import LibraryAgent

PATH = "/api/v1/agents"
router = APIRouter(tags=["library"])


class AgentIn(Writable, AgentSpec):
    """An agent to save."""


class AgentOut(AgentSpec, Resource):
    """An agent of the library."""


@router.get(PATH, summary="List the agents of the library")
async def list_agents(
    me: Viewer, session: Reading, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[AgentOut]:
    items, next_cursor = await library.page(session, me, LibraryAgent, AgentOut, limit=limit, cursor=cursor)
    return Page(items=items, next_cursor=next_cursor)


@router.post(PATH, status_code=201, summary="Save an agent in the library")
async def create_agent(agent: AgentIn, me: Editor, session: Writing, response: Response) -> AgentOut:
    row = await library.add(session, me, LibraryAgent, agent)
    response.headers["Location"] = f"{PATH}/{row.id}"
    set_etag(response, row.revision)
    return library.shown(row, AgentOut)


@router.get(f"{PATH}/{{agent_id}}", summary="Read an agent of the library")
async def read_agent(agent_id: Id, me: Viewer, session: Reading, response: Response) -> AgentOut:
    row = await find(session, me, LibraryAgent, agent_id, "agent")
    set_etag(response, row.revision)
    return library.shown(row, AgentOut)


@router.put(f"{PATH}/{{agent_id}}", summary="Replace an agent of the library")
async def replace_agent(
    agent_id: Id, agent: AgentIn, me: Editor, session: Writing, response: Response, if_match: IfMatch = None
) -> AgentOut:
    row = await find_to_change(session, me, LibraryAgent, agent_id, "agent", if_match)
    await library.rewrite(session, row, agent)
    set_etag(response, row.revision)
    return library.shown(row, AgentOut)


@router.patch(f"{PATH}/{{agent_id}}", summary="Change parts of an agent of the library (JSON merge patch)")
async def change_agent(
    agent_id: Id,
    patch: MergePatch,
    me: Editor,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> AgentOut:
    row = await find_to_change(session, me, LibraryAgent, agent_id, "agent", if_match)
    await library.rewrite(session, row, patched(AgentIn, row.document, patch))
    set_etag(response, row.revision)
    return library.shown(row, AgentOut)


@router.delete(f"{PATH}/{{agent_id}}", status_code=204, summary="Delete an agent of the library")
async def delete_agent(agent_id: Id, me: Editor, session: Writing, if_match: IfMatch = None) -> None:
    row = await find_to_change(session, me, LibraryAgent, agent_id, "agent", if_match)
    await session.delete(row)
