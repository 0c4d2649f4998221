"""Small real services behind the gateway: auth signs, the executor has a log, crews tells what it got."""

import asyncio
import base64
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from kasal_bus import Bus
from kasal_bus.topology import LIVE
from kasal_contracts.errors import NotFoundError, UnauthenticatedError
from kasal_contracts.events import END_EVENTS, Event
from kasal_contracts.ids import new_id
from kasal_contracts.messages import LiveEvents
from kasal_contracts.pages import Page
from kasal_runtime.problems import refusal_response
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, Router
from starlette.types import ASGIApp

ANY = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class Auth:
    """Everybody is `ann`, an operator, and a member of `groups`."""

    def __init__(self) -> None:
        self.groups = {"home", "other"}
        self.exchanged: list[dict[str, str]] = []
        self.tickets: dict[str, str] = {}
        self.revoked: list[dict[str, str | float]] = []
        self._key = Ed25519PrivateKey.generate()

    def token(self, *, group: str = "home", lasts_s: float = 900, jti: str = "", **claims: str) -> str:
        now = time.time()
        payload = {
            "sub": "ann",
            "gid": group,
            "role": "operator",
            "jti": jti or new_id(),
            "iss": "kasal",
            "aud": "kasal",
            "iat": now,
            "exp": now + lasts_s,
            **claims,
        }
        return jwt.encode(payload, self._key, algorithm="EdDSA", headers={"kid": "one"})

    def revoke(self, jti: str) -> None:
        self.revoked.append({"subject": f"token:{jti}", "before": time.time() + 60})

    def app(self) -> ASGIApp:
        return Router(
            [
                Route("/.well-known/jwks.json", self._jwks),
                Route("/.well-known/revocations.json", self._revocations),
                Route("/internal/service-tokens", self._service_token, methods=["POST"]),
                Route("/internal/exchange", self._exchange, methods=["POST"]),
                Route("/api/v1/{rest:path}", told, methods=ANY),
                *well(),
            ]
        )

    async def _jwks(self, _: Request) -> Response:
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        key = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "one", "x": x}
        return JSONResponse({"keys": [key]})

    async def _revocations(self, _: Request) -> Response:
        return JSONResponse({"items": self.revoked})

    async def _service_token(self, request: Request) -> Response:
        assert request.headers["x-kasal-bootstrap"] == "bootstrap"
        return JSONResponse({"token": "the-gateway", "expires_in": 300})

    async def _exchange(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer the-gateway"
        shown = {name: value for name, value in (await request.json()).items() if value is not None}
        self.exchanged.append(shown)
        group = self.tickets.pop(shown["ticket"], "") if "ticket" in shown else shown.get("group_id", "home")
        if not group:
            return refusal_response(UnauthenticatedError("the ticket was used"), request.url.path)
        if group not in self.groups:
            return refusal_response(NotFoundError("group", group), request.url.path)
        access_token = self.token(group=group, jti=f"exchanged-{len(self.exchanged)}")
        return JSONResponse({"access_token": access_token, "expires_in": 900, "group_id": group, "role": "operator"})


class Executor:
    """The executor with one execution, of the group `home`."""

    def __init__(self, bus: Bus) -> None:
        self.id = new_id()
        self.log: list[Event] = []
        self.reads: list[int] = []
        self.cancelled = asyncio.Event()
        self.broken = False
        self.bus = bus

    def event(self, type_: str, *, id_: int | None = None, text: str = "") -> Event:
        now = datetime.now(UTC)
        return Event(id=id_, execution_id=self.id, attempt=1, ts=now, type=type_, data={"text": text})

    async def happens(self, *types: str, heard: bool = True, text: str = "") -> None:
        """Logs events and then tells of them; without `heard` the broker loses them."""
        events = [self.event(type_, id_=len(self.log) + 1 + n, text=text) for n, type_ in enumerate(types)]
        self.log.extend(events)
        if heard:
            await self.tell(*events)

    async def tell(self, *events: Event) -> None:
        await self.bus.publish(LIVE, self.id, LiveEvents(execution_id=self.id, events=list(events)))

    def app(self) -> ASGIApp:
        return Router(
            [
                Route("/api/v1/execution/{execution_id}", self._read),
                Route("/api/v1/execution/{execution_id}/events", self._events),
                Route("/api/v1/execution/{execution_id}/cancel", self._cancel, methods=["POST"]),
                *well(),
            ]
        )

    async def _read(self, request: Request) -> Response:
        ended = any(event.type in END_EVENTS for event in self.log)
        return self._refusal(request) or JSONResponse({"status": "succeeded" if ended else "running"})

    async def _events(self, request: Request) -> Response:
        after, limit = int(request.query_params["after"]), int(request.query_params["limit"])
        self.reads.append(after)
        found = [event for event in self.log if event.id is not None and event.id > after]
        page = Page[Event](items=found[:limit]).model_dump_json()
        return self._refusal(request) or Response(page, media_type="application/json")

    async def _cancel(self, request: Request) -> Response:
        self.cancelled.set()
        return self._refusal(request) or JSONResponse({"status": "running"}, 202)

    def _refusal(self, request: Request) -> Response | None:
        if self.broken:
            return Response("out of order", 500)
        execution_id = request.path_params["execution_id"]
        claims = jwt.decode(request.headers["authorization"].split()[1], options={"verify_signature": False})
        if claims["gid"] == "home" and execution_id == self.id:
            return None
        return refusal_response(NotFoundError("execution", execution_id), request.url.path)


class Crews:
    """Answers with what it was asked. `first_piece` is set when the beginning of an upload is there."""

    def __init__(self) -> None:
        self.first_piece = asyncio.Event()
        self.go_on = asyncio.Event()

    def app(self) -> ASGIApp:
        return Router(
            [
                Route("/api/v1/crews/upload", self._upload, methods=["POST"]),
                Route("/api/v1/crews/download", self._download),
                Route("/api/v1/crews/silent", self._silent),
                *well(),
                Route("/{rest:path}", told, methods=ANY),
            ]
        )

    async def _upload(self, request: Request) -> Response:
        received = b""
        async for piece in request.stream():
            received += piece
            if piece:
                self.first_piece.set()
        return JSONResponse({"received": received.decode()})

    async def _download(self, _: Request) -> Response:
        async def pieces() -> AsyncGenerator[bytes]:
            yield b"first "
            await self.go_on.wait()
            yield b"second"

        return StreamingResponse(pieces(), media_type="text/plain")

    async def _silent(self, _: Request) -> Response:
        await self.go_on.wait()
        return Response()


async def told(request: Request) -> Response:
    body = (await request.body()).decode()
    answer = {
        "path": request.scope["raw_path"].decode(),
        "query": request.url.query,
        "headers": dict(request.headers),
        "body": body,
    }
    headers = {"ETag": '"7"', "Location": "/api/v1/crews/7", "Keep-Alive": "timeout=5"}
    return JSONResponse({"method": request.method, **answer}, 201 if request.method == "POST" else 200, headers)


def well(version: str = "1.2.3", **paths: object) -> list[Route]:
    async def alive(_: Request) -> Response:
        return JSONResponse({"status": "ok", "checks": {}})

    async def openapi(_: Request) -> Response:
        return JSONResponse({"openapi": "3.1.0", "info": {"version": version}, "paths": paths})

    return [Route("/readyz", alive), Route("/openapi.json", openapi)]
