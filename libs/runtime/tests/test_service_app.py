import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from fastapi import APIRouter, Response
from kasal_bus import open_memory
from kasal_contracts.errors import ConflictError, NotFoundError, TooManyError, UnavailableError
from kasal_contracts.identity import Role
from kasal_contracts.wire import Strict
from kasal_runtime.app import service_app
from kasal_runtime.hosting import serving
from kasal_runtime.metrics import HttpMetrics, new_registry
from kasal_runtime.peers import Peer, open_peer
from kasal_runtime.revisions import IfMatch, check_match, set_etag
from kasal_runtime.security import Editor, FromService, SystemAdmin, Viewer
from kasal_runtime.service import Host
from kasal_runtime.tokens import ServiceTokens, open_verifier
from kasal_testing.issuer import Issuer, open_issuer
from pydantic import Field, SecretStr


class Thing(Strict):
    name: str = Field(max_length=10)


def things() -> APIRouter:
    router = APIRouter()

    @router.get("/things", summary="Who am I?")
    async def who(me: Viewer) -> dict[str, str]:
        return {"user": me.user_id, "group": me.group_id}

    @router.post("/things", summary="Make a thing")
    async def make(thing: Thing, me: Editor) -> Thing:
        return thing

    @router.put("/things/one", summary="Change it")
    async def change(thing: Thing, me: Editor, response: Response, if_match: IfMatch = None) -> Thing:
        check_match(if_match, 3)
        set_etag(response, 4)
        return thing

    @router.get("/things/{error}", summary="Fail in a chosen way")
    async def fail(error: str, me: Viewer) -> None:
        refusals = {"busy": TooManyError("slow down", retry_after_s=7), "taken": ConflictError("taken")}
        if error == "bug":
            raise RuntimeError("insides: select * from secrets")
        raise refusals.get(error, NotFoundError("thing", error))

    @router.get("/admin", summary="System administrators")
    async def admin(me: SystemAdmin) -> str:
        return "yes"

    @router.get("/internal/thing", summary="Services")
    async def internal(me: FromService) -> str:
        return me.act.execution_id if me.act and me.act.execution_id else "none"

    return router


@dataclass
class World:
    """One service with its issuer; `away` makes its only dependency unreachable."""

    issuer: Issuer
    peer: Peer
    away: asyncio.Event

    async def call(
        self, method: str, path: str, token: str | None, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, object], aiohttp.typedefs.LooseHeaders]:
        sent = {
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        async with self.peer.open(method, path, token=token, body=body, headers=sent) as answer:
            return answer.status, await answer.json(content_type=None), answer.headers


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        issuer = await stack.enter_async_context(open_issuer(tmp_path / "auth.sock"))
        auth = await stack.enter_async_context(open_peer("auth", f"unix:{tmp_path}/auth.sock", timedelta(seconds=5)))
        away = asyncio.Event()

        async def dependency() -> None:
            if away.is_set():
                raise UnavailableError("the cellar does not answer")

        host = Host(
            bus=await stack.enter_async_context(open_memory()),
            peer={"auth": auth}.__getitem__,
            verifier=await stack.enter_async_context(open_verifier(auth, "things")),
            tokens=ServiceTokens(auth, "things", SecretStr("bootstrap")),
            metrics=HttpMetrics(new_registry()),
        )
        app = service_app("things", host, routers=[things()], checks={"cellar": dependency}, body_limit=10_000)
        await stack.enter_async_context(serving(app, uds=tmp_path / "things.sock"))
        peer = open_peer("things", f"unix:{tmp_path}/things.sock", timedelta(seconds=5))
        yield World(issuer, await stack.enter_async_context(peer), away)


async def test_a_caller_is_known_by_its_token(world: World) -> None:
    status, body, headers = await world.call("GET", "/things", world.issuer.token(group="g7"))
    assert (status, body) == (200, {"user": "user-1", "group": "g7"})
    assert headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/things", "/admin", "/internal/thing", "/nothing/here"])
async def test_without_a_token_nothing_is_told(world: World, path: str) -> None:
    status, body, headers = await world.call("GET", path, None)
    assert (status, body["title"]) == (401, "Authentication is needed")
    assert headers["WWW-Authenticate"] == "Bearer"


async def test_401_comes_before_422(world: World) -> None:
    assert (await world.call("POST", "/things", None, b"{not json"))[0] == 401


@pytest.mark.parametrize("body", [b"{not json", b'{"name": "\xff"}', b"[" * 9_000, b'{"name": %s}' % (b"9" * 5_000)])
async def test_a_body_that_cannot_be_read_is_422(world: World, body: bytes) -> None:
    status, problem, _ = await world.call("POST", "/things", world.issuer.token(role=Role.EDITOR), body)
    assert (status, problem["title"]) == (422, "The request is not valid")
    assert problem["errors"]


async def test_tokens_that_are_not_ours_are_refused(world: World) -> None:
    stranger, issuer = Issuer(key_id="test-1"), world.issuer
    head, payload, signature = issuer.token().split(".")
    forged = [
        stranger.token(),
        Issuer(key_id="unknown").token(),
        issuer.token(lifetime_s=-1),
        issuer.token(audience="elsewhere"),
        f"{head}.{payload}.{signature[:-4]}AAAA",
        f"{head}.{payload}.",
        "eyJhbGciOiJub25lIiwia2lkIjoidGVzdC0xIn0." + payload + ".",
        "not-a-token",
        issuer.signed({"sub": "x"}),
        issuer.service_token("another-service"),
    ]
    assert [(await world.call("GET", "/things", token))[0] for token in forged] == [401] * len(forged)


async def test_a_missing_right_is_403(world: World) -> None:
    viewer = world.issuer.token(role=Role.VIEWER)
    assert (await world.call("POST", "/things", viewer, b'{"name": "x"}'))[0] == 403
    assert (await world.call("GET", "/admin", world.issuer.token()))[0] == 403
    assert (await world.call("GET", "/admin", world.issuer.token(system_admin=True)))[0] == 200


async def test_service_tokens_open_internal_routes_and_no_others(world: World) -> None:
    service = world.issuer.service_token("things")
    assert (await world.call("GET", "/internal/thing", service))[:2] == (200, "none")
    assert (await world.call("GET", "/things", service))[0] == 403
    assert (await world.call("GET", "/internal/thing", world.issuer.token(system_admin=True)))[0] == 403


async def test_a_revoked_session_stops_working_within_five_seconds(world: World) -> None:
    token = world.issuer.token(session="s-9")
    assert (await world.call("GET", "/things", token))[0] == 200
    world.issuer.revoke("session:s-9")
    async with asyncio.timeout(5):
        while (await world.call("GET", "/things", token))[0] != 401:
            await asyncio.sleep(0)
    later = world.issuer.token(session="s-9")
    assert (await world.call("GET", "/things", later))[0] == 200


async def test_refusals_say_what_and_where(world: World) -> None:
    token = world.issuer.token()
    status, body, headers = await world.call("POST", "/things", token, b'{"name": "much too long", "colour": 1}')
    assert (status, headers["Content-Type"]) == (422, "application/problem+json")
    assert {tuple(item["loc"]) for item in body["errors"]} == {("body", "name"), ("body", "colour")}  # type: ignore[attr-defined,index,union-attr]
    assert body["request_id"] == headers["X-Request-ID"]


async def test_a_bug_tells_nothing_of_its_insides(world: World) -> None:
    status, body, _ = await world.call("GET", "/things/bug", world.issuer.token(), X_Request_ID="mine-1")
    assert (status, body["request_id"]) == (500, "mine-1")
    assert "secrets" not in str(body)


async def test_typed_refusals_carry_their_status_and_headers(world: World) -> None:
    token = world.issuer.token()
    status, _, headers = await world.call("GET", "/things/busy", token)
    assert (status, headers["Retry-After"]) == (429, "7")
    assert (await world.call("GET", "/things/taken", token))[0] == 409
    assert (await world.call("GET", "/things/zzz", token))[0] == 404
    assert (await world.call("DELETE", "/things", token))[0] == 405


async def test_a_body_over_the_limit_is_413_however_it_is_sent(world: World) -> None:
    token, big = world.issuer.token(), b'{"name": "' + b"x" * 20_000 + b'"}'
    assert (await world.call("POST", "/things", token, big))[0] == 413

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(big), 1000):
            yield big[start : start + 1000]

    headers = {"Content-Type": "application/json"}
    async with world.peer.open("POST", "/things", token=token, body=chunks(), headers=headers) as answer:  # type: ignore[arg-type]
        assert answer.status == 413


async def test_a_stale_if_match_is_412(world: World) -> None:
    token, thing = world.issuer.token(), b'{"name": "x"}'
    assert (await world.call("PUT", "/things/one", token, thing, If_Match='"2"'))[0] == 412
    status, _, headers = await world.call("PUT", "/things/one", token, thing, If_Match='"3"')
    assert (status, headers["ETag"]) == (200, '"4"')


async def test_readyz_names_the_dependency_that_is_away(world: World) -> None:
    assert (await world.call("GET", "/readyz", None))[0] == 200
    world.away.set()
    status, body, _ = await world.call("GET", "/readyz", None)
    assert (status, body["checks"]) == (503, {"cellar": "the cellar does not answer"})
    assert (await world.call("GET", "/healthz", None))[0] == 200


async def test_every_operation_declares_its_problems(world: World) -> None:
    _, document, _ = await world.call("GET", "/openapi.json", None)
    operations = [item for path in document["paths"].values() for item in path.values()]  # type: ignore[attr-defined]
    assert len(operations) == 6
    for operation in operations:
        assert operation["summary"]
        assert {"401", "403", "404", "422"} <= set(operation["responses"])
