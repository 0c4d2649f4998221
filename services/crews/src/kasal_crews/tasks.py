"""`/tasks`: tasks that are saved on their own, to copy into crews."""

from fastapi import APIRouter, Response
from kasal_contracts.crew import TaskSpec
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
from .tables import LibraryTask

PATH = "/api/v1/tasks"
router = APIRouter(tags=["library"])


class TaskIn(Writable, TaskSpec):
    """A task to save."""


class TaskOut(TaskSpec, Resource):
    """A task of the library."""


@router.get(PATH, summary="List the tasks of the library")
async def list_tasks(
    me: Viewer, session: Reading, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[TaskOut]:
    items, next_cursor = await library.page(session, me, LibraryTask, TaskOut, limit=limit, cursor=cursor)
    return Page(items=items, next_cursor=next_cursor)


@router.post(PATH, status_code=201, summary="Save a task in the library")
async def create_task(task: TaskIn, me: Editor, session: Writing, response: Response) -> TaskOut:
    row = await library.add(session, me, LibraryTask, task)
    response.headers["Location"] = f"{PATH}/{row.id}"
    set_etag(response, row.revision)
    return library.shown(row, TaskOut)


@router.get(f"{PATH}/{{task_id}}", summary="Read a task of the library")
async def read_task(task_id: Id, me: Viewer, session: Reading, response: Response) -> TaskOut:
    row = await find(session, me, LibraryTask, task_id, "task")
    set_etag(response, row.revision)
    return library.shown(row, TaskOut)


@router.put(f"{PATH}/{{task_id}}", summary="Replace a task of the library")
async def replace_task(
    task_id: Id, task: TaskIn, me: Editor, session: Writing, response: Response, if_match: IfMatch = None
) -> TaskOut:
    row = await find_to_change(session, me, LibraryTask, task_id, "task", if_match)
    await library.rewrite(session, row, task)
    set_etag(response, row.revision)
    return library.shown(row, TaskOut)


@router.patch(f"{PATH}/{{task_id}}", summary="Change parts of a task of the library (JSON merge patch)")
async def change_task(
    task_id: Id,
    patch: MergePatch,
    me: Editor,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> TaskOut:
    row = await find_to_change(session, me, LibraryTask, task_id, "task", if_match)
    await library.rewrite(session, row, patched(TaskIn, row.document, patch))
    set_etag(response, row.revision)
    return library.shown(row, TaskOut)


@router.delete(f"{PATH}/{{task_id}}", status_code=204, summary="Delete a task of the library")
async def delete_task(task_id: Id, me: Editor, session: Writing, if_match: IfMatch = None) -> None:
    row = await find_to_change(session, me, LibraryTask, task_id, "task", if_match)
    await session.delete(row)
