import httpx
import pytest
from kasal_contracts.identity import Role
from kasal_crews.diff import changes

from .conftest import Json, Kasal


async def test_only_a_changed_definition_makes_a_version(admin: httpx.AsyncClient, crew: Json) -> None:
    url = f"/crews/{(await admin.post('/crews', json=crew)).json()['id']}"
    moved = await admin.patch(url, json={"layout": {"nodes": {"writer": {"x": 1, "y": 2}}}})
    renamed = await admin.patch(url, json={"name": "Renamed"})
    again = await admin.patch(url, json={"name": "Renamed"})
    assert [answer.json()["version"] for answer in (moved, renamed, again)] == [1, 2, 2]
    assert moved.json()["layout"]["nodes"].keys() == {"researcher", "writer"}
    assert [item["version"] for item in (await admin.get(f"{url}/versions")).json()["items"]] == [2, 1]


async def test_a_version_stays_as_it_was(admin: httpx.AsyncClient, kasal: Kasal, crew: Json) -> None:
    saved = (await admin.post("/crews", json=crew)).json()
    url = f"/crews/{saved['id']}"
    editor = await kasal.person(Role.EDITOR)
    await editor.patch(url, json={"description": "changed"})
    first, second = [(await admin.get(f"{url}/versions/{number}")).json() for number in (1, 2)]
    assert (first["crew_id"], first["version"], first["created_by"]) == (saved["id"], 1, saved["created_by"])
    assert first["crew"]["description"] == crew["description"]
    assert second["crew"]["description"] == "changed"
    assert second["created_by"] != first["created_by"]


async def test_restoring_makes_a_new_version_equal_to_the_old(admin: httpx.AsyncClient, crew: Json) -> None:
    saved = (await admin.post("/crews", json=crew)).json()
    url = f"/crews/{saved['id']}"
    changed = await admin.patch(url, json={"name": "Other", "published": ["rest"]})
    stale = await admin.post(f"{url}/versions/1/restore", headers={"If-Match": '"1"'})
    restored = await admin.post(f"{url}/versions/1/restore", headers={"If-Match": changed.headers["etag"]})
    assert (stale.status_code, restored.status_code) == (412, 200)
    assert (restored.json()["name"], restored.json()["version"]) == (crew["name"], 3)
    assert restored.json()["published"] == ["rest"]
    versions = [(await admin.get(f"{url}/versions/{number}")).json()["crew"] for number in (1, 3)]
    assert versions[0] == versions[1]


async def test_restoring_what_no_longer_fits_is_refused(admin: httpx.AsyncClient, crew: Json) -> None:
    model = (await admin.post("/models", json={"name": "brief", "provider": "demo", "model": "scripted"})).json()
    crew["agents"][0]["model"] = "brief"
    url = f"/crews/{(await admin.post('/crews', json=crew)).json()['id']}"
    crew["agents"][0]["model"] = None
    await admin.put(url, json=crew)
    await admin.delete(f"/models/{model['id']}")
    refused = await admin.post(f"{url}/versions/1/restore")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["crew", "agents", 0, "model"]
    assert (await admin.get(url)).json()["version"] == 2


async def test_a_diff_names_what_changed_by_key(admin: httpx.AsyncClient, crew: Json) -> None:
    url = f"/crews/{(await admin.post('/crews', json=crew)).json()['id']}"
    crew["tasks"][0]["expected_output"] = "Twenty facts"
    crew["agents"].append({"key": "critic", "role": "Critic", "goal": "Doubt", "model": "demo/scripted"})
    del crew["inputs"]["topic"]["description"]
    await admin.put(url, json=crew)
    diff = (await admin.get(f"{url}/versions/diff", params={"from": 1, "to": 2})).json()
    found = {change["path"]: change for change in diff["changes"]}
    assert (diff["from"], diff["to"]) == (1, 2)
    assert found.keys() == {"tasks.research.expected_output", "agents.critic", "inputs.topic.description"}
    assert found["tasks.research.expected_output"] == {
        "path": "tasks.research.expected_output",
        "kind": "changed",
        "from": "Ten facts",
        "to": "Twenty facts",
    }
    assert found["agents.critic"]["kind"] == "added"
    back = (await admin.get(f"{url}/versions/diff", params={"from": 2, "to": 1})).json()
    assert {change["path"]: change["kind"] for change in back["changes"]}["agents.critic"] == "removed"
    same = (await admin.get(f"{url}/versions/diff", params={"from": 1, "to": 1})).json()
    assert same["changes"] == []


def test_a_changed_order_of_tasks_is_told() -> None:
    before = {"tasks": [{"key": "a"}, {"key": "b"}, {"key": "c"}]}
    after = {"tasks": [{"key": "c"}, {"key": "b"}]}
    assert [(change.path, change.kind) for change in changes(before, after)] == [
        ("tasks", "reordered"),
        ("tasks.a", "removed"),
    ]


@pytest.mark.parametrize("number", ["0", "2", "-1", "x", "1.0", "99999999999999999999", "%00", "¹"])
async def test_an_unknown_version_is_404_whatever_its_text(admin: httpx.AsyncClient, crew: Json, number: str) -> None:
    url = f"/crews/{(await admin.post('/crews', json=crew)).json()['id']}/versions"
    assert (await admin.get(f"{url}/{number}")).status_code == 404
    assert (await admin.post(f"{url}/{number}/restore")).status_code == 404


async def test_a_diff_needs_two_versions_that_exist(admin: httpx.AsyncClient, crew: Json) -> None:
    url = f"/crews/{(await admin.post('/crews', json=crew)).json()['id']}/versions/diff"
    assert (await admin.get(url)).status_code == 422
    assert (await admin.get(url, params={"from": 1, "to": 0})).status_code == 422
    assert (await admin.get(url, params={"from": 1, "to": 2})).status_code == 404
