import hashlib

import httpx
import pytest
from kasal_contracts.executions import Snapshot
from kasal_contracts.identity import Role

from .conftest import Auth, Json, Kasal, serving_crews

INTERNAL = "http://crews/internal/snapshots"


async def snapshot(client: httpx.AsyncClient, order: Json) -> Snapshot:
    answer = await client.post(INTERNAL, json=order)
    assert answer.status_code == 200, answer.text
    return Snapshot.model_validate_json(answer.content)


async def test_a_saved_crew_is_fixed_with_its_models_and_tools(
    admin: httpx.AsyncClient, kasal: Kasal, crew: Json
) -> None:
    await admin.put("/tools/http_request/config", json={"methods": ["POST"]})
    crew["agents"][0] |= {"model": "openai/gpt-5-mini", "tools": ["http_request"]}
    saved = (await admin.post("/crews", json=crew)).json()
    fixed = await snapshot(await kasal.person(Role.OPERATOR), {"crew_id": saved["id"]})
    models = {model.alias: model for model in fixed.models}
    assert (fixed.crew_id, fixed.version, fixed.memory_identity) == (saved["id"], 1, None)
    assert fixed.crew.tasks[1].context == ["research"]
    assert models.keys() == {"openai/gpt-5-mini", "demo/scripted"}
    assert models["openai/gpt-5-mini"].api_key_name == "OPENAI_API_KEY"
    assert models["openai/gpt-5-mini"].price is not None
    assert [(tool.name, tool.effect) for tool in fixed.tools] == [("calculator", "pure"), ("http_request", "effectful")]
    assert fixed.tools[1].config["methods"] == ["POST"]


async def test_a_named_version_is_fixed_as_it_was(admin: httpx.AsyncClient, crew: Json) -> None:
    saved = (await admin.post("/crews", json=crew)).json()
    await admin.patch(f"/crews/{saved['id']}", json={"name": "Newer"})
    first = await snapshot(admin, {"crew_id": saved["id"], "version": 1})
    newest = await snapshot(admin, {"crew_id": saved["id"]})
    assert (first.crew.name, first.version) == (crew["name"], 1)
    assert (newest.crew.name, newest.version) == ("Newer", 2)


async def test_a_crew_can_be_sent_whole_even_as_get_returned_it(admin: httpx.AsyncClient, crew: Json) -> None:
    saved = (await admin.post("/crews", json=crew)).json()
    fixed = await snapshot(admin, {"crew": saved})
    assert (fixed.crew_id, fixed.version) == (None, None)
    assert fixed.crew.name == crew["name"]


async def test_what_cannot_run_is_refused_with_every_problem(admin: httpx.AsyncClient, crew: Json) -> None:
    draft = (await admin.post("/crews", json={"name": "Later"})).json()
    refused = await admin.post(INTERNAL, json={"crew_id": draft["id"]})
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["crew", "tasks"])
    crew["tasks"][0] |= {"agent": "nobody", "tools": ["nothing"]}
    refused = await admin.post(INTERNAL, json={"crew": crew})
    locs = [error["loc"] for error in refused.json()["errors"]]
    assert locs == [["body", "crew", "tasks", 0, "agent"], ["body", "crew", "tasks", 0, "tools", 0]]


async def test_a_model_that_was_disabled_since_keeps_the_crew_from_running(
    admin: httpx.AsyncClient, crew: Json
) -> None:
    saved = (await admin.post("/crews", json=crew)).json()
    models = (await admin.get("/models", params={"limit": 200})).json()["items"]
    scripted = next(model for model in models if model["name"] == "demo/scripted")
    await admin.patch(f"/models/{scripted['id']}", json={"enabled": False})
    refused = await admin.post(INTERNAL, json={"crew_id": saved["id"]})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["crew", "agents", 0, "model"]


async def test_agents_without_a_model_get_the_groups_default(admin: httpx.AsyncClient, crew: Json) -> None:
    await admin.patch("/config", json={"default_model": "demo/scripted"})
    for agent in crew["agents"]:
        agent["model"] = None
    crew |= {"process": "hierarchical", "configuration": {"manager_model": "openai/gpt-5", "planning": True}}
    fixed = await snapshot(admin, {"crew": crew})
    assert fixed.default_model == "demo/scripted"
    assert [model.alias for model in fixed.models] == ["demo/scripted", "openai/gpt-5"]


@pytest.mark.parametrize(
    "order",
    [{}, {"crew_id": "a", "crew": {}}, {"version": 1}, {"crew": [], "version": 1}, {"crew_id": "a", "version": 0}],
    ids=str,
)
async def test_an_order_names_one_crew(admin: httpx.AsyncClient, order: Json) -> None:
    assert (await admin.post(INTERNAL, json=order)).status_code == 422


async def test_an_unknown_crew_or_version_is_404(admin: httpx.AsyncClient, crew: Json) -> None:
    saved = (await admin.post("/crews", json=crew)).json()
    for order in ({"crew_id": "nobody"}, {"crew_id": "\x00"}, {"crew_id": saved["id"], "version": 2}):
        assert (await admin.post(INTERNAL, json=order)).status_code == 404


async def test_viewers_run_nothing(kasal: Kasal, crew: Json) -> None:
    assert (await (await kasal.person(Role.VIEWER)).post(INTERNAL, json={"crew": crew})).status_code == 403


async def test_memory_belongs_to_who_the_crew_is_and_not_to_every_word(
    admin: httpx.AsyncClient, kasal: Kasal, crew: Json
) -> None:
    crew["configuration"] = {"memory": True}
    first = await snapshot(admin, {"crew": crew})
    canonical = f'["{kasal.group}",["Researcher","Writer"],["brief","research"],"Research brief",["demo/scripted"]]'
    assert first.memory_identity == hashlib.sha256(canonical.encode()).hexdigest()
    crew["tasks"][0]["description"] = "Find out about {topic}"
    crew["agents"].reverse()
    same = await snapshot(admin, {"crew": crew})
    crew["agents"][0]["role"] = "Poet"
    other = await snapshot(admin, {"crew": crew})
    elsewhere = await snapshot(await kasal.person(Role.ADMIN, group="elsewhere"), {"crew": crew})
    assert same.memory_identity == first.memory_identity
    assert len({first.memory_identity, other.memory_identity, elsewhere.memory_identity}) == 3


async def test_a_snapshot_names_keys_and_never_holds_one(kasal: Kasal, crew: Json) -> None:
    kasal.auth.held = ["GOOGLE_API_KEY"]
    crew["agents"][0]["model"] = "google/gemini-2.5-pro"
    crew["agents"][1]["model"] = "anthropic/claude-haiku-4-5"
    fixed = await snapshot(await kasal.person(Role.OPERATOR), {"crew": crew})
    keys = {model.alias: model.api_key_name for model in fixed.models}
    assert keys["google/gemini-2.5-pro"] == "GOOGLE_API_KEY"
    assert keys["anthropic/claude-haiku-4-5"] == "ANTHROPIC_API_KEY"


async def test_addresses_come_from_the_operators_settings(migrated_url: str, crew: Json) -> None:
    auth = Auth(held=["DATABRICKS_TOKEN"])
    settings = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "DATABRICKS_HOST": "work.example.com/"}
    async with serving_crews(migrated_url, auth, **settings) as socket, Kasal.opened(auth, socket) as kasal:
        crew["agents"][0]["model"] = "openai/gpt-5"
        crew["configuration"] = {"planning": True}
        fixed = await snapshot(await kasal.person(Role.OPERATOR), {"crew": crew})
    urls = {model.alias: model.base_url for model in fixed.models}
    assert urls["openai/gpt-5"] == "http://127.0.0.1:9/v1"
    assert fixed.default_model == "databricks/databricks-claude-sonnet-4"
    assert urls[fixed.default_model] == "https://work.example.com/serving-endpoints"
    assert urls["demo/scripted"] is None
