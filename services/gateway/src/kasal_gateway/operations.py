"""The gateway's own operations, as its part of the OpenAPI document."""

from http import HTTPStatus
from typing import cast

from kasal_contracts.events import Event
from kasal_contracts.messages import StateChanged
from kasal_contracts.problems import MEDIA_TYPE, Problem
from kasal_contracts.wire import Frozen, JsonObject
from kasal_runtime.version import VERSION
from pydantic import JsonValue
from pydantic.json_schema import models_json_schema

from .documents import Components, Document, Info
from .openapi import REFERENCE
from .sockets import ErrorFrame

API_VERSION = "v1"
TAGS: list[JsonValue] = ["executions"]


class Versions(Frozen):
    """`services` maps each service to its version, or to `unreachable`."""

    version: str
    api: str
    services: dict[str, str]


WEB_SOCKET = (
    "The twin on a WebSocket is `/api/v1/execution/{execution_id}/ws`: the same events as JSON frames; it takes "
    '`{"action": "cancel"}` and `{"action": "input", "request_id": …, "answer": …}` and answers a refused action with '
    "an `ErrorFrame`."
)
RESUME: list[JsonValue] = [
    {
        "name": "execution_id",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
    },
    {
        "name": "after",
        "in": "query",
        "description": "The id of the event that was seen last.",
        "schema": {"type": "integer", "minimum": 0, "default": 0},
    },
    {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "As `after`; goes before it.",
        "schema": {"type": "integer", "minimum": 0},
    },
]
TICKET: JsonObject = {
    "name": "ticket",
    "in": "query",
    "description": "A ticket of `POST /api/v1/auth/ticket`, where a header cannot be set.",
    "schema": {"type": "string"},
}


def own_document() -> Document:
    _, schemas = models_json_schema(
        [(model, "serialization") for model in (Event, StateChanged, Versions, Problem, ErrorFrame)],
        ref_template=REFERENCE + "{model}",
    )
    paths: dict[str, dict[str, JsonObject]] = {
        "/api/v1/version": {"get": _version()},
        "/api/v1/execution/stream": {"get": _group_stream()},
        "/api/v1/execution/{execution_id}/stream": {"get": _execution_stream()},
    }
    # The services' documents leave out defaults of null; where both are alike a shared model stays one schema.
    shared = {name: cast(JsonObject, _without_null_defaults(schema)) for name, schema in schemas["$defs"].items()}
    return Document(info=Info(version=VERSION), paths=paths, components=Components(schemas=shared))


def _without_null_defaults(value: JsonValue) -> JsonValue:
    if isinstance(value, list):
        return [_without_null_defaults(item) for item in value]
    if isinstance(value, dict):
        kept = {name: item for name, item in value.items() if (name, item) != ("default", None)}
        return {name: _without_null_defaults(item) for name, item in kept.items()}
    return value


def _version() -> JsonObject:
    answers: JsonObject = {"200": _answer("What runs here", "application/json", {"$ref": f"{REFERENCE}Versions"})}
    return {"summary": "Versions of the API and of the services", "operationId": "read_version", "responses": answers}


def _execution_stream() -> JsonObject:
    frames = _answer("Frames; `data` is an `Event`", "text/event-stream", {"$ref": f"{REFERENCE}Event"})
    return {
        "summary": "Watch an execution: its events from the first or from the last one seen, then live",
        "description": WEB_SOCKET,
        "operationId": "stream_execution",
        "tags": TAGS,
        "parameters": [*RESUME, TICKET],
        "responses": {
            "200": frames,
            "204": {"description": "The execution ended, and the client has seen its final event"},
            **_problems(401, 404, 422, 503),
        },
    }


def _group_stream() -> JsonObject:
    frames = _answer("Frames; `data` is a `StateChanged`", "text/event-stream", {"$ref": f"{REFERENCE}StateChanged"})
    return {
        "summary": "Watch the state changes of the active group's executions",
        "description": "Live alone. After `state.missed` something was not sent: read the list again.",
        "operationId": "stream_executions",
        "tags": TAGS,
        "parameters": [TICKET],
        "responses": {"200": frames, **_problems(401, 503)},
    }


def _answer(description: str, media_type: str, schema: JsonObject) -> JsonObject:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _problems(*statuses: int) -> JsonObject:
    schema: JsonObject = {"$ref": f"{REFERENCE}Problem"}
    return {str(status): _answer(HTTPStatus(status).phrase, MEDIA_TYPE, schema) for status in statuses}
