import asyncio

import httpx
import pytest
from kasal_contracts.identity import Role
from kasal_contracts.ids import new_id
from kasal_crews.catalogue import newest_edition
from kasal_crews.providers import local_model_installed

from .conftest import Json, Kasal


async def listed(client: httpx.AsyncClient) -> dict[str, Json]:
    items = (await client.get("/models", params={"limit": 200})).json()["items"]
    assert len({item["name"] for item in items}) == len(items)
    return {item["name"]: item for item in items}


async def test_a_new_group_has_the_catalogue_at_once(kasal: Kasal) -> None:
    viewer = await kasal.person(Role.VIEWER)
    models = await listed(viewer)
    assert list(models) == [form.name for form in newest_edition().models]
    assert {model["provider"] for model in models.values()} == {
        "openai",
        "anthropic",
        "google",
        "databricks",
        "meta",
        "openai_compatible",
        "demo",
    }
    assert "demo" in models["demo/scripted"]["title"].lower()
    assert models["local/smollm2"]["title"] == "SmolLM2 135M on this machine"
    assert models["openai/gpt-5-mini"]["price"] == {"input_per_mtok": 0.25, "output_per_mtok": 2}


async def test_first_calls_at_once_give_the_catalogue_once(kasal: Kasal) -> None:
    viewer = await kasal.person(Role.VIEWER)
    answers = await asyncio.gather(*(viewer.get("/models", params={"limit": 200}) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(await listed(viewer)) == len(newest_edition().models)


async def test_a_model_is_available_when_its_key_is_there(kasal: Kasal) -> None:
    kasal.auth.held = ["OPENAI_API_KEY", "DATABRICKS_TOKEN"]
    models = await listed(await kasal.person(Role.VIEWER))
    assert models["openai/gpt-5"]["available"]
    assert models["openai/gpt-5"]["unavailable_reason"] is None
    assert models["demo/scripted"]["available"]
    assert models["local/smollm2"]["available"] is local_model_installed()
    assert "ANTHROPIC_API_KEY" in models["anthropic/claude-haiku-4-5"]["unavailable_reason"]
    assert models["databricks/databricks-gpt-oss-120b"]["unavailable_reason"] == "DATABRICKS_HOST is not set"


async def test_keys_are_asked_for_in_the_callers_name_and_not_each_time(kasal: Kasal) -> None:
    viewer = await kasal.person(Role.VIEWER)
    for _ in range(3):
        await listed(viewer)
    assert kasal.auth.asked_by.count(viewer.headers["authorization"]) == 1


async def test_models_are_listed_while_auth_is_away(kasal: Kasal) -> None:
    kasal.auth.away = True
    models = await listed(await kasal.person(Role.VIEWER))
    assert not models["openai/gpt-5"]["available"]
    assert "auth service does not answer" in models["openai/gpt-5"]["unavailable_reason"]
    assert models["demo/scripted"]["available"]


async def test_a_model_needs_only_name_provider_and_model(admin: httpx.AsyncClient) -> None:
    made = await admin.post("/models", json={"name": "Our own", "provider": "openai", "model": "gpt-x"})
    body = made.json()
    assert made.status_code == 201
    assert made.headers["location"] == f"/api/v1/models/{body['id']}"
    assert (body["context_window"], body["enabled"], body["extra"], body["price"]) == (128_000, True, {}, None)
    read = await admin.get(f"/models/{body['id']}")
    assert (read.json(), read.headers["etag"]) == (body, made.headers["etag"])
    assert next(iter(await listed(admin))) == "Our own"


async def test_put_accepts_what_get_returned_for_every_model(admin: httpx.AsyncClient) -> None:
    for model in (await listed(admin)).values():
        put = await admin.put(f"/models/{model['id']}", json=model)
        assert (put.status_code, put.json()) == (200, model)


async def test_a_seeded_model_can_be_disabled_or_deleted_for_good(admin: httpx.AsyncClient, kasal: Kasal) -> None:
    models = await listed(admin)
    disabled = await admin.patch(f"/models/{models['openai/gpt-5']['id']}", json={"enabled": False})
    deleted = await admin.delete(f"/models/{models['openai/gpt-4.1']['id']}")
    assert (disabled.json()["enabled"], deleted.status_code) == (False, 204)
    left = await listed(await kasal.person(Role.VIEWER))
    assert "openai/gpt-4.1" not in left
    assert not left["openai/gpt-5"]["enabled"]
    off = (await admin.get("/models", params={"enabled": False})).json()["items"]
    assert [model["name"] for model in off] == ["openai/gpt-5"]


async def test_a_disabled_model_keeps_crews_from_being_saved(admin: httpx.AsyncClient, crew: Json) -> None:
    model = (await listed(admin))["demo/scripted"]
    await admin.patch(f"/models/{model['id']}", json={"enabled": False})
    refused = await admin.post("/crews", json=crew)
    assert refused.status_code == 422
    assert "disabled" in refused.json()["errors"][0]["msg"]


async def test_names_are_unique_in_the_group(admin: httpx.AsyncClient, kasal: Kasal) -> None:
    form = {"name": "twice", "provider": "demo", "model": "scripted"}
    first = await admin.post("/models", json=form)
    assert first.status_code == 201
    assert (await admin.post("/models", json=form)).status_code == 409
    renamed = await admin.patch(f"/models/{first.json()['id']}", json={"name": "demo/scripted"})
    assert renamed.status_code == 409
    other = await kasal.person(Role.ADMIN, group=new_id())
    assert (await other.post("/models", json=form)).status_code == 201


@pytest.mark.parametrize(
    "change",
    [
        {"base_url": "ftp://models.example.com"},
        {"base_url": "file:///etc/passwd"},
        {"base_url": "https://user:secret@models.example.com/v1"},
        {"base_url": "https://"},
        {"base_url": "https://x:0x/"},
        {"base_url": "local://../x"},
        {"provider": "azure"},
        {"provider": "openai_compatible"},
        {"temperature": 3},
        {"context_window": 0},
        {"price": {"input_per_mtok": -1, "output_per_mtok": 0}},
        {"price": {"input_per_mtok": 1}},
        {"extra": {"x": "y" * 20_000}},
        {"api_key_name": "has space"},
        {"name": ""},
        {"nme": "x"},
    ],
    ids=str,
)
async def test_a_wrong_model_is_refused(admin: httpx.AsyncClient, change: Json) -> None:
    refused = await admin.post("/models", json={"name": "wrong", "provider": "openai", "model": "m", **change})
    assert refused.status_code == 422
    assert "secret" not in refused.text
    assert "wrong" not in await listed(admin)


async def test_where_prompts_and_keys_go_is_an_admins_decision(admin: httpx.AsyncClient, kasal: Kasal) -> None:
    editor = await kasal.person(Role.EDITOR)
    form = {"name": "ours", "provider": "openai_compatible", "model": "m", "base_url": "https://a.example.com/v1"}
    assert (await editor.post("/models", json=form)).status_code == 403
    url = f"/models/{(await admin.post('/models', json=form)).json()['id']}"
    for change in ({"base_url": "https://b.example.com"}, {"api_key_name": "OPENAI_API_KEY"}, {"provider": "openai"}):
        assert (await editor.patch(url, json=change)).status_code == 403
    assert (await editor.patch(url, json={"temperature": 0.5})).status_code == 200
    moved = await admin.patch(url, json={"base_url": "https://b.example.com/"})
    assert moved.json()["base_url"] == "https://b.example.com"


async def test_a_stale_model_is_not_changed(admin: httpx.AsyncClient) -> None:
    made = await admin.post("/models", json={"name": "m", "provider": "demo", "model": "scripted"})
    url, stale = f"/models/{made.json()['id']}", {"If-Match": made.headers["etag"]}
    assert (await admin.patch(url, json={"title": "new"}, headers=stale)).status_code == 200
    assert (await admin.patch(url, json={"title": "lost"}, headers=stale)).status_code == 412
    assert (await admin.delete(url, headers=stale)).status_code == 412
    assert (await admin.get(url)).json()["title"] == "new"


async def test_viewers_and_operators_change_no_models(kasal: Kasal) -> None:
    form = {"name": "m", "provider": "demo", "model": "scripted"}
    for role in (Role.VIEWER, Role.OPERATOR):
        assert (await (await kasal.person(role)).post("/models", json=form)).status_code == 403
    assert (await (await kasal.person(Role.EDITOR)).post("/models", json=form)).status_code == 201


async def test_a_key_in_extra_is_refused_with_the_place_where_it_belongs(kasal: Kasal) -> None:
    editor = await kasal.person(Role.ADMIN)
    body = {"name": "mine", "provider": "openai", "model": "m", "extra": {"api_key": "sk-planted"}}
    answer = await editor.post("/models", json=body)
    assert answer.status_code == 422
    assert "/api-keys" in answer.text
    assert "sk-planted" not in answer.text
