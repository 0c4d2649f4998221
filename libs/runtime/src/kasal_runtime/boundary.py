"""The outermost layer of every HTTP process: request id, limits, log line, metrics and the last error handler."""

import re
import time
from http import HTTPStatus

import structlog
from kasal_contracts.errors import KasalError, TooLargeError
from kasal_contracts.ids import new_id
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from .context import request_id, traceparent
from .metrics import HttpMetrics
from .problems import bug_response, refusal_response

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

log = structlog.get_logger(__name__)


class Exchange:
    """One request and its answer: counts the body, remembers the status."""

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive = receive
        self._send = send
        self._limit = limit
        self._read = 0
        self.too_large = False
        self.status = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read > self._limit:
            self.too_large = True
            raise too_large(self._limit)
        return message

    async def send(self, message: Message) -> None:
        # The framework turns an error in the middle of a body into an answer of its own; the boundary says 413.
        if self.too_large and not self.status:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["X-Request-ID"] = request_id.get()
        await self._send(message)


class Boundary:
    """Wraps a whole application. `body_limit` is in bytes."""

    def __init__(self, app: ASGIApp, *, service: str, body_limit: int, metrics: HttpMetrics) -> None:
        self.app = app
        self.service = service
        self.body_limit = body_limit
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id.set(given if REQUEST_ID.fullmatch(given) else new_id())
        parent = headers.get("traceparent", "")
        traceparent.set(parent if TRACEPARENT.fullmatch(parent) else "")
        with bound_contextvars(request_id=request_id.get(), service=self.service):
            await self._serve(scope, Exchange(receive, send, self.body_limit), headers)

    async def _serve(self, scope: Scope, exchange: Exchange, headers: Headers) -> None:
        started = time.perf_counter()
        path = scope["path"]
        try:
            await self._answer(scope, exchange, headers)
        except KasalError as error:
            if exchange.status:
                raise
            exchange.too_large = False
            await refusal_response(error, path)(scope, exchange.receive, exchange.send)
        except Exception:  # the one place where a bug ends: it is logged here and told without its insides
            log.exception("request_failed", method=scope["method"], path=path)
            if exchange.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                return
            if exchange.status:
                raise
            await bug_response(path)(scope, exchange.receive, exchange.send)
        finally:
            self._account(scope, exchange.status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, exchange: Exchange, headers: Headers) -> None:
        if _declared_length(headers) > self.body_limit:
            raise too_large(self.body_limit)
        try:
            await self.app(scope, exchange.receive, exchange.send)
        finally:
            if exchange.too_large and not exchange.status:
                raise too_large(self.body_limit)

    def _account(self, scope: Scope, status: int, took_s: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.observe(self.service, scope["method"], route, status, took_s)
        if scope["path"] not in {"/healthz", "/readyz", "/metrics"}:
            duration_ms = round(took_s * 1000, 1)
            log.info("request", method=scope["method"], path=scope["path"], status=status, duration_ms=duration_ms)


def _declared_length(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isdigit() else 0


def too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"at most {limit} bytes are accepted")
