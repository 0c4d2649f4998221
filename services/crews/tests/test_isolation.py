"""No route shows, changes or counts what belongs to another group."""

import httpx
from kasal_contracts.identity import Role
from kasal_contracts.ids import new_id

from .conftest import Json, Kasal


async def test_every_route_answers_404_for_what_another_group_has(
    admin: httpx.AsyncClient, kasal: Kasal, crew: Json
) -> None:
    stranger = await kasal.person(Role.ADMIN, group=new_id(), system=True)
    saved = (await admin.post("/crews", json=crew)).json()
    model = (await admin.post("/models", json={"name": "own", "provider": "demo", "model": "scripted"})).json()
    crew_url, model_url = f"/crews/{saved['id']}", f"/models/{model['id']}"
    calls = {
        "read": stranger.get(crew_url),
        "replace": stranger.put(crew_url, json=crew),
        "change": stranger.patch(crew_url, json={"name": "stolen"}),
        "delete": stranger.delete(crew_url),
        "versions": stranger.get(f"{crew_url}/versions"),
        "version": stranger.get(f"{crew_url}/versions/1"),
        "diff": stranger.get(f"{crew_url}/versions/diff", params={"from": 1, "to": 1}),
        "restore": stranger.post(f"{crew_url}/versions/1/restore"),
        "snapshot": stranger.post("http://crews/internal/snapshots", json={"crew_id": saved["id"]}),
        "read model": stranger.get(model_url),
        "replace model": stranger.put(model_url, json=model),
        "change model": stranger.patch(model_url, json={"enabled": False}),
        "delete model": stranger.delete(model_url),
    }
    answers = {name: (await call).status_code for name, call in calls.items()}
    assert answers == dict.fromkeys(calls, 404)
    assert (await admin.get(crew_url)).json() == saved
    assert (await admin.get(model_url)).json() == model


async def test_lists_settings_and_tools_are_each_groups_own(admin: httpx.AsyncClient, kasal: Kasal, crew: Json) -> None:
    stranger = await kasal.person(Role.ADMIN, group=new_id())
    before = {path: (await stranger.get(path)).json() for path in ("/config", "/tools/http_request")}
    await admin.post("/crews", json=crew)
    await admin.post("/models", json={"name": "own", "provider": "demo", "model": "scripted"})
    await admin.patch("/config", json={"default_model": "own", "allowed_tools": []})
    await admin.put("/tools/http_request/config", json={"hosts": ["own.example.com"]})
    after = {path: (await stranger.get(path)).json() for path in before}
    models = (await stranger.get("/models", params={"limit": 200})).json()["items"]
    assert (await stranger.get("/crews")).json()["items"] == []
    assert "own" not in {model["name"] for model in models}
    assert after == before


async def test_another_groups_model_cannot_be_named_in_a_crew(
    admin: httpx.AsyncClient, kasal: Kasal, crew: Json
) -> None:
    stranger = await kasal.person(Role.ADMIN, group=new_id())
    await admin.post("/models", json={"name": "private model", "provider": "demo", "model": "scripted"})
    crew["agents"][0]["model"] = "private model"
    assert (await admin.post("/crews", json=crew)).status_code == 201
    refused = await stranger.post("/crews", json=crew)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["body", "agents", 0, "model"]


async def test_every_operation_needs_a_token(admin: httpx.AsyncClient) -> None:
    paths: Json = (await admin.get("http://crews/openapi.json")).json()["paths"]
    operations = [(method, path) for path, item in paths.items() for method in item]
    assert len(operations) > 20
    for method, path in operations:
        url = f"http://crews{path}".replace("{", "").replace("}", "")
        answer = await admin.request(method, url, headers={"Authorization": "Bearer nonsense"})
        assert answer.status_code == 401, (method, path)


async def test_every_operation_says_what_it_takes_and_gives(admin: httpx.AsyncClient) -> None:
    paths: Json = (await admin.get("http://crews/openapi.json")).json()["paths"]
    for path, item in paths.items():
        for method, operation in item.items():
            assert operation["summary"], (method, path)
            good = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
            assert method == "delete" or "$ref" in str(good["content"]["application/json"]["schema"]), (method, path)
            assert operation["responses"].keys() >= {"401", "403", "404", "422"}
