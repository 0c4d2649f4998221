"""HTTP for tools, and the memory of a crew."""

import base64
from pathlib import Path
from typing import Any

import httpx
from kasal_contracts.egress import ToolHttpOut
from kasal_testing.scripted_llm import Garbage, Hang, Refuse, ScriptedLlm, Text

from .callers import Child, child_of
from .orders import GROUP, USER, model

TOOL = ("http_request",)


async def http(child: Child, url: str, **fields: Any) -> httpx.Response:
    wanted = {"tool": "http_request", "method": "GET", "url": url, **fields}
    return await child.client.post("/tools/http", json=wanted)


def said(answer: httpx.Response, code: str = "tool_error") -> str:
    error = answer.json()["error"]
    assert error["code"] == code
    return str(error["message"])


def place(server: ScriptedLlm) -> str:
    return server.origin.removeprefix("http://")


async def test_a_tool_gets_what_the_server_said(folder: Path) -> None:
    async with ScriptedLlm(Text("Paris.")) as server:
        async with child_of(folder, model(), tools=TOOL, egress_allow=place(server)) as child:
            body = base64.b64encode(b'{"stream": false}').decode()
            answer = await http(child, f"{server.url}/x?q=1", method="POST", body=body, headers={"X-Mine": "1"})

        out = ToolHttpOut.model_validate_json(answer.content)
        assert (out.status, out.truncated) == (200, False)
        assert b"Paris." in base64.b64decode(out.body)
        [seen] = server.requests
        assert (seen.path, seen.query, seen.headers["X-Mine"], seen.body) == ("/v1/x", "q=1", "1", {"stream": False})


async def test_an_error_of_the_server_is_an_answer_and_a_long_one_is_cut(folder: Path) -> None:
    async with (
        ScriptedLlm(Refuse(418, "short and stout"), Garbage("x" * 3_000_000)) as server,
        child_of(folder, model(), tools=TOOL, egress_allow=place(server)) as child,
    ):
        refused = ToolHttpOut.model_validate_json((await http(child, server.url)).content)
        long = ToolHttpOut.model_validate_json((await http(child, server.url)).content)

    assert (refused.status, base64.b64decode(refused.body)) == (418, b"short and stout")
    assert (long.truncated, len(base64.b64decode(long.body))) == (True, 2**20)


async def test_a_tool_reaches_neither_this_machine_nor_kasal_nor_without_being_in_the_crew(folder: Path) -> None:
    async with ScriptedLlm() as server:
        async with child_of(folder, model(), tools=TOOL) as child:
            assert "loopback" in said(await http(child, server.url))
            assert "metadata address" in said(await http(child, "http://169.254.169.254/latest"))
            assert "not one of http" in said(await http(child, "file:///etc/passwd"))
            assert "not a request" in said(await http(child, server.url, body="no base64!"))
        async with child_of(folder / "b", model(), egress_allow=place(server)) as child:
            assert "not among the tools" in said(await http(child, server.url))

        assert server.requests == []


async def test_a_tool_waits_no_longer_than_it_wants_to(folder: Path) -> None:
    async with (
        ScriptedLlm(Hang()) as server,
        child_of(folder, model(), tools=TOOL, egress_allow=place(server)) as child,
    ):
        answer = await http(child, server.url, timeout_s=0.2)

    assert answer.status_code == 504
    assert "took longer" in said(answer)


async def test_memory_is_asked_under_the_identity_of_the_snapshot(folder: Path) -> None:
    async with child_of(folder, model(), memory="identity-1") as child:
        found = await child.client.post("/memory/search", json={"query": "Paris"})
        kept = await child.client.post("/memory/records", json={"texts": ["Paris is a city."], "agent": "writer"})

        assert found.json() == {"items": [], "asked": "search"}
        assert kept.status_code == 200
        recall, remember = child.desks.asked
        assert (recall.audience, remember.audience) == ("memory", "memory")
        assert recall.act is not None
        assert (recall.act.group_id, recall.act.user_id, recall.act.attempt) == (GROUP, USER, 1)
        assert isinstance(recall.body, dict)
        assert isinstance(remember.body, dict)
        assert (recall.body["query"], recall.body["identity"]) == ("Paris", "identity-1")
        assert (remember.body["texts"], remember.body["crew_id"]) == (["Paris is a city."], "crew-1")


async def test_a_child_cannot_choose_whose_memory_it_reads(folder: Path) -> None:
    async with child_of(folder, model(), memory="identity-1") as child:
        forged = await child.client.post("/memory/search", json={"query": "Paris", "identity": "identity-2"})
    async with child_of(folder / "b", model()) as without:
        nothing = await without.client.post("/memory/search", json={"query": "Paris"})

    assert forged.status_code == 422
    assert child.desks.asked == []
    assert "has no memory" in said(nothing, "internal")
