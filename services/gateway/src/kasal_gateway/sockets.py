"""`WS /api/v1/execution/{execution_id}/ws`: the events as JSON frames, and actions from the client."""

import asyncio
from collections.abc import Collection
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import quote

from kasal_contracts.errors import ForbiddenError, InvalidError, KasalError
from kasal_contracts.ids import new_id
from kasal_contracts.problems import Problem
from kasal_contracts.wire import Frozen, Strict
from kasal_runtime.context import request_id
from kasal_runtime.peers import Peer
from kasal_runtime.problems import refusal_response
from pydantic import BaseModel, Field, JsonValue, TypeAdapter, ValidationError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from .browsers import is_welcome
from .door import Admission, admission_of
from .following import Viewing, Viewings
from .streams import resume_point

ENDED = 1000
# Codes from 4000 on are ours (RFC 6455, section 7.4.2); the last digits are the HTTP status.
REFUSED = 4000


class Cancel(Strict):
    action: Literal["cancel"]


class Input(Strict):
    action: Literal["input"]
    request_id: str
    answer: JsonValue


Action: TypeAdapter[Cancel | Input] = TypeAdapter(Annotated[Cancel | Input, Field(discriminator="action")])


class ErrorFrame(Frozen):
    """Answers an action that was refused. Whatever else the server sends is an event."""

    error: Problem


class _Accepted(BaseModel):
    """What the executor answers is of no interest here: its effect comes as an event."""


class SocketBoundary:
    """For WebSockets what `Boundary` is for requests: a refusal before the handshake is answered as a problem."""

    def __init__(self, app: ASGIApp, allowed_origins: Collection[str]) -> None:
        self.app = app
        self.allowed_origins = allowed_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        request_id.set(new_id())
        try:
            if not is_welcome(Headers(scope=scope), self.allowed_origins):
                raise ForbiddenError("pages of this origin may not connect")
            await self.app(scope, receive, send)
        except KasalError as error:
            await refusal_response(error, scope["path"])(scope, receive, send)


@dataclass(frozen=True)
class ExecutionSocket:
    """Two tasks, one for each direction. The socket closes with the final event, or with the right to see more."""

    viewings: Viewings
    executor: Peer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        admission = admission_of(socket)
        execution_id: str = socket.path_params["execution_id"]
        async with self.viewings.open(execution_id, admission, resume_point(socket)) as viewing:
            await socket.accept()
            if viewing is None:
                await socket.close(ENDED)
                return
            acting = asyncio.create_task(self._act(socket, execution_id, admission), name="socket-actions")
            telling = asyncio.create_task(_tell(socket, viewing), name="socket-events")
            try:
                await asyncio.wait({acting, telling}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _ended(acting, telling)

    async def _act(self, socket: WebSocket, execution_id: str, admission: Admission) -> None:
        """Returns when the client has gone."""
        path = f"/api/v1/execution/{quote(execution_id, safe='')}"
        while True:
            try:
                action = _action(await _received(socket))
                body = action.model_dump(exclude={"action"}) or None
                await self.executor.call("POST", f"{path}/{action.action}", _Accepted, token=admission.token, body=body)
            except KasalError as error:
                await socket.send_text(_error_frame(error).model_dump_json(exclude_none=True))
            except WebSocketDisconnect:
                return


async def _tell(socket: WebSocket, viewing: Viewing) -> None:
    try:
        async with aclosing(viewing.batches()) as batches:
            async for batch in batches:
                for event in batch:
                    await socket.send_text(event.model_dump_json())
    except KasalError as error:
        await socket.send_text(_error_frame(error).model_dump_json(exclude_none=True))
        await socket.close(REFUSED + error.status)
    except WebSocketDisconnect:
        return
    else:
        await socket.close(ENDED)


async def _ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


async def _received(socket: WebSocket) -> str | bytes:
    """A text or a binary frame. Raises WebSocketDisconnect."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"])
    return message.get("text") or message.get("bytes") or ""


def _action(sent: str | bytes) -> Cancel | Input:
    """Raises InvalidError."""
    try:
        return Action.validate_json(sent)
    except ValidationError as error:
        raise InvalidError(
            'an action is {"action": "cancel"} or {"action": "input", "request_id", "answer"}'
        ) from error


def _error_frame(error: KasalError) -> ErrorFrame:
    return ErrorFrame(
        error=Problem(title=error.title, status=error.status, detail=error.detail, request_id=request_id.get())
    )
