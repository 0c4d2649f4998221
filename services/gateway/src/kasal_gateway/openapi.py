"""One OpenAPI 3.1 document of the whole API, merged from those of the services and of the gateway itself."""

from collections.abc import Iterable, Mapping
from typing import cast

from kasal_contracts.wire import JsonObject
from kasal_runtime.version import VERSION
from pydantic import JsonValue

from .documents import Document, Shelf
from .door import OPEN
from .forwarding import JWKS

PUBLIC = ("/api/v1/", JWKS)
REFERENCE = "#/components/schemas/"
METHODS = frozenset({"get", "put", "post", "delete", "patch", "head", "options", "trace"})
DESCRIPTION = (
    "Design crews of AI agents, run them and watch them work. Every call but login, refresh and version needs an "
    "access token; `X-Group-ID` picks the active group among the caller's. Errors are `application/problem+json`."
)


def merged(shelf: Shelf, own: Document) -> JsonObject:
    """Raises nothing for a service that is away: the description says so, and what was known of it is kept."""
    documents = {**shelf.documents, "gateway": own}
    paths: JsonObject = {}
    schemas: JsonObject = {}
    operation_ids: set[str] = set()
    for service, document in documents.items():
        names = _new_names(service, document, schemas)
        for name, schema in document.components.schemas.items():
            schemas[names.get(name, name)] = _renamed(schema, names)
        for path, operations in document.paths.items():
            if path.startswith(PUBLIC):
                public = _operations(service, path, operations, operation_ids)
                paths[path] = {**cast(JsonObject, paths.get(path, {})), **cast(JsonObject, _renamed(public, names))}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Kasal", "version": VERSION, "description": _description(shelf)},
        "security": [{"bearer": []}],
        "tags": cast(JsonValue, [{"name": tag} for tag in sorted(_tags(paths))]),
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _description(shelf: Shelf) -> str:
    if not shelf.away:
        return DESCRIPTION
    return f"{DESCRIPTION} Not answering now, so that operations may be missing: {', '.join(sorted(shelf.away))}."


def _new_names(service: str, document: Document, taken: Mapping[str, JsonValue]) -> dict[str, str]:
    """Names that mean something else elsewhere get the service's name in front, and so do those that refer to them."""
    own = document.components.schemas
    clashing = {name for name, schema in own.items() if name in taken and taken[name] != schema}
    grown = True
    while grown:
        referring = {name for name in taken if name in own and _references(own[name]) & clashing}
        grown = not referring <= clashing
        clashing |= referring
    return {name: f"{service.capitalize()}{name}" for name in clashing}


def _operations(
    service: str, path: str, operations: Mapping[str, JsonObject], operation_ids: set[str]
) -> dict[str, JsonObject]:
    public: dict[str, JsonObject] = {}
    for method, operation in operations.items():
        if method not in METHODS:
            public[method] = operation
            continue
        operation_id = str(operation.get("operationId", f"{method}_{path}"))
        if operation_id in operation_ids:
            operation_id = f"{service}_{operation_id}"
        operation_ids.add(operation_id)
        public[method] = {"tags": [_tag(path)], **operation, "operationId": operation_id}
        if path in OPEN or not path.startswith("/api/"):
            public[method]["security"] = []
    return public


def _tag(path: str) -> str:
    return path.split("/")[3] if path.startswith("/api/") else "keys"


def _tags(paths: JsonObject) -> set[str]:
    operations = (
        operation
        for item in cast(Iterable[Mapping[str, Mapping[str, list[str]]]], paths.values())
        for method, operation in item.items()
        if method in METHODS
    )
    return {tag for operation in operations for tag in operation["tags"]}


def _renamed(value: JsonValue | Mapping[str, JsonObject], names: Mapping[str, str]) -> JsonValue:
    if isinstance(value, Mapping):
        return {key: _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    if isinstance(value, str) and value.startswith(REFERENCE):
        name = value.removeprefix(REFERENCE)
        return REFERENCE + names.get(name, name)
    return value


def _references(value: JsonValue) -> set[str]:
    if isinstance(value, dict):
        return {name for item in value.values() for name in _references(item)}
    if isinstance(value, list):
        return {name for item in value for name in _references(item)}
    if isinstance(value, str) and value.startswith(REFERENCE):
        return {value.removeprefix(REFERENCE)}
    return set()
