import httpx
import pytest
from kasal_contracts.identity import Role
from kasal_contracts.ids import new_id

from .conftest import Json, Kasal

AGENT: Json = {"key": "poet", "role": "Poet", "goal": "Rhyme about {topic}", "tools": ["calculator"]}
TASK: Json = {"key": "poem", "description": "Write", "expected_output": "A poem", "output_schema": {"type": "object"}}
EACH = pytest.mark.parametrize(("path", "document"), [("/agents", AGENT), ("/tasks", TASK)], ids=["agents", "tasks"])


@EACH
async def test_an_item_is_saved_read_replaced_changed_and_deleted(
    admin: httpx.AsyncClient, path: str, document: Json
) -> None:
    made = await admin.post(path, json=document)
    url = f"{path}/{made.json()['id']}"
    assert (made.status_code, made.headers["location"]) == (201, f"/api/v1{url}")
    read = await admin.get(url)
    assert (read.json(), read.headers["etag"]) == (made.json(), '"1"')
    again = await admin.put(url, json=read.json())
    assert (again.json(), again.headers["etag"]) == (read.json(), '"1"')
    changed = await admin.patch(url, json={"key": "other"}, headers={"If-Match": '"1"'})
    assert (changed.json()["key"], changed.headers["etag"]) == ("other", '"2"')
    assert (await admin.put(url, json=document, headers={"If-Match": '"1"'})).status_code == 412
    assert (await admin.get(path)).json()["items"] == [changed.json()]
    assert (await admin.delete(url)).status_code == 204
    assert (await admin.get(url)).status_code == 404


@EACH
async def test_what_is_no_item_is_refused(admin: httpx.AsyncClient, path: str, document: Json) -> None:
    for wrong in ({**document, "key": "two words"}, {**document, "keey": "x"}, {**document, "key": None}, {}):
        refused = await admin.post(path, json=wrong)
        assert (refused.status_code, refused.json()["errors"][0]["loc"][0]) == (422, "body")
    assert (await admin.get(path)).json()["items"] == []


@EACH
async def test_an_item_can_be_copied_into_a_crew(
    admin: httpx.AsyncClient, crew: Json, path: str, document: Json
) -> None:
    saved = (await admin.post(path, json=document)).json()
    own = {name: value for name, value in saved.items() if name in {*AGENT, *TASK}}
    crew[path.strip("/")].append({**own, "agent": "writer"} if path == "/tasks" else own)
    made = await admin.post("/crews", json=crew)
    assert made.status_code == 201, made.text
    assert made.json()[path.strip("/")][-1]["key"] == document["key"]


@EACH
async def test_the_library_of_another_group_is_not_there(
    admin: httpx.AsyncClient, kasal: Kasal, path: str, document: Json
) -> None:
    stranger = await kasal.person(Role.ADMIN, group=new_id())
    saved = (await admin.post(path, json=document)).json()
    url = f"{path}/{saved['id']}"
    calls = [stranger.get(url), stranger.put(url, json=saved), stranger.patch(url, json={}), stranger.delete(url)]
    assert {(await call).status_code for call in calls} == {404}
    assert (await stranger.get(path)).json()["items"] == []
    assert (await (await kasal.person(Role.OPERATOR)).post(path, json=document)).status_code == 403
    assert (await admin.get(url)).json() == saved
