"""The outbound HTTP client."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import aiohttp
from multidict import CIMultiDict

from .errors import EgressRefusedError, EgressTooLargeError
from .policy import Target, UrlPolicy
from .resolver import PinnedResolver, Resolve, system_resolve
from .response import TRANSFER_HEADERS, EgressResponse, typed_errors
from .retries import retrying
from .timeouts import Timeouts

_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# These follow from the URL, the body and the connection; a caller who could set them could smuggle requests.
_OWN_HEADERS = TRANSFER_HEADERS - {"content-encoding"} | {"accept-encoding", "expect", "host", "proxy-authorization"}
_CREDENTIAL_HEADERS = frozenset({"authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key"})
_HEADERS_FOR_ANY_ORIGIN = frozenset({"accept", "accept-language", "user-agent"})


@dataclass(frozen=True, slots=True)
class EgressLimits:
    """Caps that hold where a request names no others. `max_bytes` counts decoded bytes of one answer."""

    timeouts: Timeouts = field(default_factory=Timeouts)
    max_bytes: int = 64 * 1024 * 1024
    connections: int = 200
    idle_connection: timedelta = timedelta(seconds=30)
    redirects: int = 5
    tries: int = 3
    backoff: timedelta = timedelta(milliseconds=500)
    retry_after_cap: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class _Order:
    """One request on its way, redirects included."""

    method: str
    target: Target
    headers: CIMultiDict[str]
    body: bytes | None
    timeouts: Timeouts
    deadline: float
    may_redirect: bool
    repeatable: bool


class Egress:
    """Made by `open_egress`. Keeps connections, but no cookies; reads no proxy and no netrc."""

    def __init__(
        self, session: aiohttp.ClientSession, resolver: PinnedResolver, policy: UrlPolicy, limits: EgressLimits
    ) -> None:
        self._session = session
        self._resolver = resolver
        self._policy = policy
        self._limits = limits

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        credential_headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeouts: Timeouts | None = None,
        max_bytes: int | None = None,
        follow_redirects: bool = False,
        repeatable: bool = False,
    ) -> AsyncGenerator[EgressResponse]:
        """Send a request; the answer's body streams until the context ends.

        Any status is an answer, not an error. Headers that belong to the connection (Host, Content-Length,
        Accept-Encoding and the like) are ours and left out of `headers`. `credential_headers` win over `headers`.
        Redirects are followed for GET and HEAD without credentials only; otherwise the redirect is the answer.
        `repeatable` says that sending twice does no harm: the request is then repeated before the first byte
        after a lost connection and after 429, 502, 503, 504 and 529.

        Raises EgressRefusedError, EgressUnreachableError, EgressUntrustedError, EgressTimeoutError,
        EgressInterruptedError or EgressTooLargeError.
        """
        timeouts = timeouts or self._limits.timeouts
        merged = _own(headers or {}, credential_headers or {})
        order = _Order(
            method=_method(method),
            target=self._policy.check_url(url),
            headers=merged,
            body=body,
            timeouts=timeouts,
            deadline=asyncio.get_running_loop().time() + timeouts.total.total_seconds(),
            may_redirect=follow_redirects and not credential_headers and _CREDENTIAL_HEADERS.isdisjoint(_names(merged)),
            repeatable=repeatable,
        )
        cap = self._limits.max_bytes if max_bytes is None else max_bytes
        answer, host = await self._follow(order)
        try:
            if answer.content_length is not None and answer.content_length > cap and order.method != "HEAD":
                raise EgressTooLargeError(host, cap)
            yield EgressResponse(answer, host=host, deadline=order.deadline, max_bytes=cap)
        finally:
            # A connection whose answer was not read to its end is closed, any other goes back to the pool.
            answer.release()

    async def _follow(self, order: _Order) -> tuple[aiohttp.ClientResponse, str]:
        """The answer at the end of the redirects, and the host that gave it."""
        for _ in range(self._limits.redirects + 1):
            answer = await self._send_repeatedly(order)
            location = answer.headers.get("Location")
            follows = order.may_redirect and order.method in ("GET", "HEAD") and answer.status in _REDIRECTS
            if not follows or location is None:
                return answer, order.target.host
            answer.close()
            order = self._redirected(order, location)
        raise EgressRefusedError(f"{order.target.host} redirects too often")

    def _redirected(self, order: _Order, location: str) -> _Order:
        """Raises EgressRefusedError for a place that could not have been asked for in the first place."""
        here = order.target.url
        target = self._policy.check_location(here, location)
        if here.scheme == "https" and target.url.scheme != "https":
            raise EgressRefusedError(f"{order.target.host} redirects from https to http")
        if target.url.origin() == here.origin():
            return replace(order, target=target)
        kept = ((name, value) for name, value in order.headers.items() if name.lower() in _HEADERS_FOR_ANY_ORIGIN)
        return replace(order, target=target, headers=CIMultiDict(kept), body=None)

    async def _send_repeatedly(self, order: _Order) -> aiohttp.ClientResponse:
        if not order.repeatable:
            return await self._send(order)
        limits = self._limits
        again = retrying(
            order.target.host,
            tries=limits.tries,
            backoff=limits.backoff,
            retry_after_cap=limits.retry_after_cap,
            deadline=order.deadline,
        )
        answer: aiohttp.ClientResponse = await again(self._send, order)
        return answer

    async def _send(self, order: _Order) -> aiohttp.ClientResponse:
        target, timeouts = order.target, order.timeouts
        with typed_errors(target.host):
            async with asyncio.timeout_at(order.deadline):
                if target.address is not None:  # the connector asks its resolver for names only
                    await self._resolver.check(target.host, target.port, [str(target.address)])
                return await self._session.request(
                    order.method,
                    target.url,
                    headers=order.headers,
                    data=order.body,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(
                        total=None, connect=timeouts.connect.total_seconds(), sock_read=timeouts.idle.total_seconds()
                    ),
                )


@asynccontextmanager
async def open_egress(
    policy: UrlPolicy,
    *,
    limits: EgressLimits | None = None,
    resolve: Resolve = system_resolve,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[Egress]:
    """A client with its own pool of connections. `tls` replaces the system's certificates, never the verification."""
    if tls is not None and not (tls.check_hostname and tls.verify_mode is ssl.CERT_REQUIRED):
        raise ValueError("a TLS context that does not verify certificates and names is not used")
    limits = limits or EgressLimits()
    resolver = PinnedResolver(policy, resolve)
    connector = aiohttp.TCPConnector(
        resolver=resolver,
        use_dns_cache=False,
        ssl=tls or True,
        limit=limits.connections,
        keepalive_timeout=limits.idle_connection.total_seconds(),
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        skip_auto_headers=("Content-Type",),
        headers={"User-Agent": "Kasal"},
    ) as session:
        yield Egress(session, resolver, policy, limits)


def _method(method: str) -> str:
    known = method.upper()
    if known not in _METHODS:
        raise EgressRefusedError("the method is not one of " + ", ".join(sorted(_METHODS)))
    return known


def _own(headers: Mapping[str, str], credentials: Mapping[str, str]) -> CIMultiDict[str]:
    """`headers` without those that are ours, then `credentials`. Raises EgressRefusedError for a broken one."""
    merged = CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _OWN_HEADERS)
    merged.update(credentials)
    for name, value in merged.items():
        if not name.isascii() or not name.isprintable() or any(mark in value for mark in "\r\n\0"):
            raise EgressRefusedError("a header holds a line break or an unusual character")
    return merged


def _names(headers: Mapping[str, str]) -> set[str]:
    return {name.lower() for name in headers}
