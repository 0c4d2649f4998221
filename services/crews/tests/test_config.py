from collections.abc import AsyncGenerator

import httpx
import pytest
import pytest_asyncio
from kasal_contracts.identity import Role
from kasal_crews.providers import local_model_installed

from .conftest import Json, Kasal


@pytest_asyncio.fixture(loop_scope="session")
async def system(kasal: Kasal) -> AsyncGenerator[httpx.AsyncClient]:
    """A system admin; what it set is taken back afterwards."""
    client = await kasal.person(Role.VIEWER, system=True)
    yield client
    nothing: Json = dict.fromkeys(("default_model", "allowed_models", "allowed_tools", "limits", "retention"))
    assert (await client.patch("/config/system", json=nothing)).status_code == 200


@pytest.mark.parametrize(
    ("keys", "model"),
    [
        ([], "local/smollm2" if local_model_installed() else "demo/scripted"),
        (["META_API_KEY"], "meta/Llama-4-Maverick-17B-128E-Instruct-FP8"),
        (["GEMINI_API_KEY", "ANTHROPIC_API_KEY"], "anthropic/claude-sonnet-4-5"),
        (["GOOGLE_API_KEY"], "google/gemini-2.5-flash"),
        (["ANTHROPIC_API_KEY", "OPENAI_API_KEY"], "openai/gpt-5-mini"),
    ],
)
async def test_the_default_model_follows_the_keys(kasal: Kasal, keys: list[str], model: str) -> None:
    kasal.auth.held = keys
    config = (await (await kasal.person(Role.VIEWER)).get("/config")).json()
    assert config["default_model"] == {"value": model, "source": "default"}


async def test_a_disabled_model_is_no_default(kasal: Kasal, admin: httpx.AsyncClient) -> None:
    models = (await admin.get("/models", params={"limit": 200})).json()["items"]
    local = next(model for model in models if model["name"] == "local/smollm2")
    await admin.patch(f"/models/{local['id']}", json={"enabled": False})
    assert (await admin.get("/config")).json()["default_model"]["value"] == "demo/scripted"


async def test_every_setting_says_where_it_comes_from(system: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    await system.patch("/config/system", json={"limits": {"timeout_s": 60, "max_attempts": 2}, "default_model": "a"})
    changed = await admin.patch(
        "/config", json={"default_model": "demo/scripted", "limits": {"timeout_s": 600, "memory_mb": 100}}
    )
    config = changed.json()
    assert (changed.status_code, config) == (200, (await admin.get("/config")).json())
    assert config["default_model"] == {"value": "demo/scripted", "source": "group"}
    assert config["allowed_models"] == {"value": None, "source": "default"}
    assert config["limits"]["source"] == "group"
    limits = {name: value for name, value in config["limits"]["value"].items() if value is not None}
    assert limits == {"timeout_s": 60, "max_attempts": 2, "memory_mb": 100}


async def test_null_gives_a_setting_back_to_the_layer_below(
    system: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    await system.patch("/config/system", json={"retention": {"logs": 30}, "default_model": "demo/scripted"})
    await admin.patch("/config", json={"retention": {"logs": 7}, "default_model": "local/smollm2"})
    back = (await admin.patch("/config", json={"retention": None, "default_model": None})).json()
    assert back["default_model"] == {"value": "demo/scripted", "source": "system"}
    assert (back["retention"]["value"]["logs"], back["retention"]["source"]) == (30, "system")
    assert (await system.get("/config/system")).json()["retention"]["value"]["logs"] == 30


async def test_a_group_narrows_what_the_system_allows_and_never_widens_it(
    system: httpx.AsyncClient, admin: httpx.AsyncClient, crew: Json
) -> None:
    await system.patch("/config/system", json={"allowed_tools": [], "allowed_models": ["demo/scripted"]})
    config = (await admin.patch("/config", json={"allowed_tools": ["calculator"], "allowed_models": []})).json()
    assert config["allowed_tools"] == {"value": [], "source": "group"}
    assert not (await admin.get("/tools/calculator")).json()["enabled"]
    problems = (await admin.post("/crews/validate", json=crew)).json()["problems"]
    assert {problem["path"] for problem in problems} >= {"agents[0].model", "agents[1].tools[0]"}
    assert all("not allowed" in problem["message"] for problem in problems)


async def test_names_that_nothing_has_are_refused_with_the_nearest(admin: httpx.AsyncClient) -> None:
    for patch, near in (
        ({"default_model": "demo/scriptd"}, "'demo/scripted'"),
        ({"allowed_models": ["openai/gpt5"]}, "'openai/gpt-5'"),
        ({"allowed_tools": ["calculater"]}, "'calculator'"),
    ):
        refused = await admin.patch("/config", json=patch)
        assert refused.status_code == 422
        assert near in refused.json()["errors"][0]["msg"]
    assert (await admin.get("/config")).json()["allowed_tools"]["value"] is None


@pytest.mark.parametrize(
    "patch",
    [
        {"limits": {"timeout_s": 0}},
        {"limits": {"timeouts": 1}},
        {"retention": {"logs": -1}},
        {"allowed_models": "demo/scripted"},
        {"default_model": "\x00"},
        {"secret": "x"},
        {"limits": {"max_cost_usd": 10**400}},
    ],
    ids=lambda patch: str(patch)[:40],
)
async def test_a_wrong_setting_is_refused(admin: httpx.AsyncClient, patch: Json) -> None:
    before = await admin.get("/config")
    refused = await admin.patch("/config", json=patch)
    assert refused.status_code == 422
    assert (await admin.get("/config")).json() == before.json()


async def test_a_stale_change_of_settings_is_refused(admin: httpx.AsyncClient) -> None:
    read = await admin.get("/config")
    match = {"If-Match": read.headers["etag"]}
    assert (await admin.patch("/config", json={"limits": {"timeout_s": 5}}, headers=match)).status_code == 200
    assert (await admin.patch("/config", json={"limits": {"timeout_s": 9}}, headers=match)).status_code == 412
    assert (await admin.get("/config")).json()["limits"]["value"]["timeout_s"] == 5


async def test_rights_decide_who_changes_settings(kasal: Kasal, admin: httpx.AsyncClient) -> None:
    editor = await kasal.person(Role.EDITOR)
    assert (await editor.get("/config")).status_code == 200
    assert (await editor.patch("/config", json={})).status_code == 403
    for call in (admin.get("/config/system"), admin.patch("/config/system", json={})):
        assert (await call).status_code == 403
