"""Server-sent events (WHATWG HTML, section 9.2): one execution with resume, and the state changes of a group."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta

import structlog
from kasal_bus.mailbox import Mailbox
from kasal_bus.topology import group_key
from kasal_contracts.errors import InvalidError, KasalError
from kasal_contracts.events import Event
from kasal_contracts.messages import StateChanged
from kasal_contracts.problems import FieldError
from kasal_runtime.tokens import TokenVerifier
from starlette.requests import HTTPConnection
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from .door import admission_of
from .following import RECHECK, Viewing, Viewings
from .watches import Watches

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
STILL_HERE = b": still here\n\n"
STATE_CHANGED = "state.changed"
STATES_MISSED = "state.missed"
# The log asks for 32-bit ids; whatever a client sends beyond that is after every event there is.
LONGEST_ID = 18
LARGEST_ID = 2**31 - 1

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ExecutionStream:
    """`GET /api/v1/execution/{execution_id}/stream`. Refusals come as problems, before the stream begins."""

    viewings: Viewings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        execution_id: str = connection.path_params["execution_id"]
        async with self.viewings.open(execution_id, admission_of(connection), resume_point(connection)) as viewing:
            response = Response(status_code=204) if viewing is None else EventStream(execution_frames(viewing))
            await response(scope, receive, send)


@dataclass(frozen=True)
class GroupStream:
    """`GET /api/v1/execution/stream`: what changes from now on in the caller's active group."""

    watches: Watches
    verifier: TokenVerifier
    heartbeat: timedelta

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        admission = admission_of(HTTPConnection(scope))
        async with self.watches.watch(group_key(admission.caller.group_id)) as mailbox:
            await EventStream(self._frames(mailbox, admission.token))(scope, receive, send)

    async def _frames(self, mailbox: Mailbox, token: str) -> AsyncGenerator[bytes]:
        yield STILL_HERE
        generation = mailbox.generation
        spoke = time.monotonic()
        while await _is_good(self.verifier, token):
            letter = await mailbox.next(min(RECHECK, self.heartbeat))
            frame = b""
            if generation != mailbox.generation:
                generation = mailbox.generation
                frame += _frame(STATES_MISSED, "{}")
            if letter is not None and isinstance(letter[1], StateChanged):
                frame += _frame(STATE_CHANGED, letter[1].model_dump_json(exclude={"type"}))
            if not frame and time.monotonic() - spoke < self.heartbeat.total_seconds():
                continue
            spoke = time.monotonic()
            yield frame or STILL_HERE


async def execution_frames(viewing: Viewing) -> AsyncGenerator[bytes]:
    try:
        async with aclosing(viewing.batches()) as batches:
            async for batch in batches:
                yield b"".join(map(event_frame, batch)) or STILL_HERE
    except KasalError as error:
        log.info("stream_ended", reason=error.detail)


def event_frame(event: Event) -> bytes:
    """A chunk carries no id: a client that resumes does so from the last event that is in the log."""
    return _frame(event.type, event.model_dump_json(), event.id)


class EventStream(StreamingResponse):
    """Ends properly whatever ended it: a server that stops is no reason for a client to see a broken answer."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncGenerator[bytes]) -> None:
        super().__init__(frames, headers=HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        more = True

        async def counted(message: Message) -> None:
            nonlocal more
            await send(message)
            more = message.get("more_body", True)

        await super().__call__(scope, receive, counted)
        if more:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def resume_point(connection: HTTPConnection) -> int:
    """The id that the client saw last; 0 for all. Raises InvalidError for what is no id."""
    for loc, text in (
        ("header", connection.headers.get("last-event-id")),
        ("query", connection.query_params.get("after")),
    ):
        if text:
            if not (text.isascii() and text.isdecimal() and len(text) <= LONGEST_ID):
                name = "Last-Event-ID" if loc == "header" else "after"
                wrong = FieldError(loc=[loc, name], msg="must be the id of an event")
                raise InvalidError(f"{name} must be the id of an event", errors=[wrong])
            return min(int(text), LARGEST_ID)
    return 0


async def _is_good(verifier: TokenVerifier, token: str) -> bool:
    try:
        await verifier.verify(token)
    except KasalError as error:
        log.info("stream_ended", reason=error.detail)
        return False
    return True


def _frame(type_: str, data: str, id_: int | None = None) -> bytes:
    head = "" if id_ is None else f"id: {id_}\n"
    return f"{head}event: {type_}\ndata: {data}\n\n".encode()
