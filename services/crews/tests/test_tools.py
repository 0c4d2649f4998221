import asyncio

import httpx
from kasal_contracts.identity import Role
from kasal_tools import installed_tools

from .conftest import Kasal


async def test_the_installed_tools_are_listed_by_name(admin: httpx.AsyncClient) -> None:
    page = (await admin.get("/tools")).json()
    tools = {tool["name"]: tool for tool in page["items"]}
    assert list(tools) == sorted(installed_tools())
    assert page["next_cursor"] is None
    assert tools["calculator"].keys() >= {"title", "category", "description", "config_schema", "requires", "enabled"}
    assert (tools["calculator"]["effect"], tools["calculator"]["enabled"]) == ("pure", True)
    assert tools["http_request"]["config_schema"]["properties"].keys() >= {"methods", "hosts"}


async def test_tools_come_in_pages(admin: httpx.AsyncClient) -> None:
    first = (await admin.get("/tools", params={"limit": 1})).json()
    rest = (await admin.get("/tools", params={"cursor": first["next_cursor"]})).json()
    assert [tool["name"] for tool in [*first["items"], *rest["items"]]] == sorted(installed_tools())


async def test_a_group_configures_a_tool_for_itself(admin: httpx.AsyncClient, kasal: Kasal) -> None:
    before = await admin.get("/tools/http_request")
    config = {"methods": ["POST"], "hosts": ["example.com"]}
    put = await admin.put("/tools/http_request/config", json=config, headers={"If-Match": before.headers["etag"]})
    stale = await admin.put("/tools/http_request/config", json=config, headers={"If-Match": before.headers["etag"]})
    assert (put.status_code, stale.status_code) == (200, 412)
    assert (before.json()["effect"], put.json()["effect"]) == ("idempotent", "effectful")
    assert put.json()["config"] == {"methods": ["POST"], "hosts": ["example.com"], "timeout_s": 30.0}
    assert (await admin.get("/tools/http_request")).json() == put.json()
    elsewhere = await kasal.person(Role.ADMIN, group="elsewhere")
    assert (await elsewhere.get("/tools/http_request")).json() == before.json()


async def test_first_configurations_at_once_end_in_one(admin: httpx.AsyncClient) -> None:
    bodies = [{"hosts": [f"{number}.example.com"]} for number in range(5)]
    answers = await asyncio.gather(*(admin.put("/tools/http_request/config", json=body) for body in bodies))
    assert {answer.status_code for answer in answers} <= {200, 409}
    kept = (await admin.get("/tools/http_request")).json()
    assert kept in [answer.json() for answer in answers if answer.status_code == 200]


async def test_a_configuration_that_the_tool_does_not_take_is_refused(admin: httpx.AsyncClient) -> None:
    for name, config in (("http_request", {"methods": ["BREW"]}), ("http_request", {"x": 1}), ("calculator", {"x": 1})):
        refused = await admin.put(f"/tools/{name}/config", json=config)
        assert (refused.status_code, refused.json()["errors"][0]["loc"][0]) == (422, "body")
    assert (await admin.put("/tools/http_request/config", json={"hosts": ["\x00"]})).status_code == 422
    assert (await admin.get("/tools/http_request")).headers["etag"] == '"0"'


async def test_an_unknown_tool_is_404(admin: httpx.AsyncClient) -> None:
    for name in ("nothing", "%00", "..%2Fx"):
        assert (await admin.get(f"/tools/{name}")).status_code == 404
        assert (await admin.put(f"/tools/{name}/config", json={})).status_code == 404


async def test_only_admins_configure_tools(kasal: Kasal) -> None:
    editor = await kasal.person(Role.EDITOR)
    assert (await editor.put("/tools/calculator/config", json={})).status_code == 403
    assert (await editor.get("/tools/calculator")).status_code == 200
