"""One document out of many, and the page that reads it."""

import httpx
from fastapi import FastAPI
from kasal_contracts.events import Event
from kasal_contracts.wire import JsonObject
from kasal_gateway.documents import Document, Shelf
from kasal_gateway.openapi import merged
from kasal_gateway.operations import own_document


def reference(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}


def document(path: str, uses: str, schemas: dict[str, JsonObject], operation_id: str = "read") -> Document:
    operation: JsonObject = {
        "summary": "Read",
        "operationId": operation_id,
        "responses": {"200": {"description": "it", "content": {"application/json": {"schema": reference(uses)}}}},
    }
    return Document.model_validate(
        {"info": {"version": "1"}, "paths": {path: {"get": operation}}, "components": {"schemas": schemas}}
    )


def answer_schema(whole: JsonObject, path: str) -> str:
    operation = Document.model_validate({"info": {"version": "1"}, "paths": whole["paths"]}).paths[path]["get"]
    _, _, text = str(operation["responses"]).partition("#/components/schemas/")
    return text.partition("'")[0]


def test_schemas_of_one_name_and_two_meanings_are_kept_apart_with_whatever_refers_to_them() -> None:
    page: JsonObject = {"type": "object", "properties": {"item": reference("Item")}}
    problem: JsonObject = {"type": "object"}
    crews = document("/api/v1/crews", "Page", {"Item": {"type": "string"}, "Page": page, "Problem": problem})
    memory = document("/api/v1/memory", "Page", {"Item": {"type": "integer"}, "Page": page, "Problem": problem})
    whole = merged(
        Shelf({"crews": crews, "memory": memory}, frozenset()), Document.model_validate({"info": {"version": "1"}})
    )
    assert answer_schema(whole, "/api/v1/crews") == "Page"
    assert answer_schema(whole, "/api/v1/memory") == "MemoryPage"
    schemas = Document.model_validate({"info": {"version": "1"}, **whole}).components.schemas
    assert set(schemas) == {"Item", "Page", "Problem", "MemoryItem", "MemoryPage"}
    assert schemas["MemoryPage"]["properties"] == {"item": reference("MemoryItem")}


def test_operation_ids_are_unique_and_internal_paths_are_left_out() -> None:
    crews = document("/api/v1/crews", "A", {"A": {}})
    memory = document("/api/v1/memory", "A", {"A": {}})
    hidden = document("/internal/keys", "A", {"A": {}})
    whole = merged(Shelf({"crews": crews, "memory": memory, "auth": hidden}, frozenset()), own_document())
    paths = Document.model_validate({"info": {"version": "1"}, "paths": whole["paths"]}).paths
    assert "/internal/keys" not in paths
    ids = [operations["get"]["operationId"] for operations in paths.values()]
    assert len(set(ids)) == len(ids)
    assert paths["/api/v1/memory"]["get"]["operationId"] == "memory_read"
    assert paths["/api/v1/memory"]["get"]["tags"] == ["memory"]


async def test_the_document_names_who_is_away_and_holds_the_gateways_own_operations(client: httpx.AsyncClient) -> None:
    whole = (await client.get("/openapi.json")).json()
    assert whole["openapi"] == "3.1.0"
    assert whole["info"]["description"].endswith("may be missing: memory.")
    assert {"/api/v1/version", "/api/v1/execution/{execution_id}/stream"} <= set(whole["paths"])
    assert whole["security"] == [{"bearer": []}]
    assert whole["paths"]["/api/v1/version"]["get"]["security"] == []
    assert {"Event", "Problem", "Versions"} <= set(whole["components"]["schemas"])


def test_a_model_that_a_service_also_shows_is_one_schema() -> None:
    app = FastAPI()

    @app.get("/api/v1/event")
    def read_event() -> Event:
        raise NotImplementedError

    shown = Document.model_validate(app.openapi())
    whole = merged(Shelf({"executor": shown}, frozenset()), own_document())
    assert "GatewayEvent" not in str(whole)


async def test_versions_name_every_service_and_say_who_is_away(client: httpx.AsyncClient) -> None:
    versions = (await client.get("/api/v1/version")).json()
    assert versions["api"] == "v1"
    assert versions["services"] == {"auth": "1.2.3", "crews": "1.2.3", "executor": "1.2.3", "memory": "unreachable"}


async def test_the_docs_page_loads_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    assert (await client.get("/")).headers["location"] == "/docs"
    page = (await client.get("/docs")).text
    assert "http" not in page
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js"):
        assert f"/docs/{asset}" in page
        assert (await client.get(f"/docs/{asset}")).status_code == 200


async def test_readiness_names_what_is_away(client: httpx.AsyncClient) -> None:
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {
        "auth": "ok",
        "crews": "ok",
        "executor": "ok",
        "memory": "the memory service does not answer",
        "bus": "ok",
    }
