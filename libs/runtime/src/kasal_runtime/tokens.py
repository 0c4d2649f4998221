"""Access tokens: every service checks them itself (JWT, RFC 7519; EdDSA keys from a JWKS, RFC 8037)."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import jwt
import structlog
from kasal_contracts.errors import KasalError, UnauthenticatedError
from kasal_contracts.identity import Act, Caller, Role
from pydantic import BaseModel, JsonValue, SecretStr, ValidationError

from .peers import Peer

ISSUER = "kasal"
AUDIENCE = "kasal"
ALGORITHM = "EdDSA"
REVOCATION_POLL = timedelta(seconds=1.5)
CACHE_SIZE = 4096
CLOCK_SKEW = timedelta(seconds=30)

log = structlog.get_logger(__name__)


class Claims(BaseModel):
    """What an access token says. `service` and `act` are set in service tokens alone."""

    sub: str
    gid: str
    role: Role
    scope: str = ""
    jti: str
    sid: str = ""
    iss: str
    aud: str
    iat: float
    exp: float
    sys: bool = False
    service: str | None = None
    act: Act | None = None

    def caller(self) -> Caller:
        return Caller(
            user_id=self.sub,
            group_id=self.gid,
            role=self.role,
            is_system_admin=self.sys,
            scopes=frozenset(self.scope.split()),
            session_id=self.sid,
            token_id=self.jti,
            service=self.service,
            act=self.act,
        )


class Jwks(BaseModel):
    keys: list[dict[str, str]]


class Revocation(BaseModel):
    """Ends tokens that were issued before `before` (seconds since 1970) to `subject`.

    `subject` is `session:<sid>`, `token:<jti>`, `user:<sub>` or `member:<sub>:<gid>`.
    """

    subject: str
    before: float


class Revocations(BaseModel):
    items: list[Revocation]


@dataclass
class TokenVerifier:
    """Checks tokens offline; keys and revocations are fetched in the background from auth."""

    auth: Peer
    service: str
    _keys: dict[str, jwt.PyJWK] = field(default_factory=dict)
    _revoked: dict[str, float] = field(default_factory=dict)
    _seen: OrderedDict[str, Claims] = field(default_factory=OrderedDict)
    _fetching: asyncio.Lock = field(default_factory=asyncio.Lock)
    _fetched_at: float = float("-inf")

    async def verify(self, token: str) -> Caller:
        """Raises UnauthenticatedError for whatever is not a live token of ours for this service."""
        claims = self._seen.get(token) or await self._decode(token)
        if claims.exp <= time.time():
            raise UnauthenticatedError("the access token has expired; refresh it")
        if self._is_revoked(claims):
            raise UnauthenticatedError("the access token was revoked; log in again")
        return claims.caller()

    async def _decode(self, token: str) -> Claims:
        try:
            key = await self._key_of(token)
            raw: dict[str, JsonValue] = jwt.decode(
                token,
                key.key,
                algorithms=[ALGORITHM],
                audience=[AUDIENCE, self.service],
                issuer=ISSUER,
                # The issuer's clock may be ahead of ours; `verify` checks the end without leeway.
                leeway=CLOCK_SKEW,
                options={"require": ["exp", "iat", "sub", "jti", "aud", "iss"]},
            )
            claims = Claims.model_validate(raw)
        except (jwt.PyJWTError, ValidationError) as error:
            raise UnauthenticatedError("the access token is not valid") from error
        if claims.service is not None and claims.aud != self.service:
            raise UnauthenticatedError("the service token is meant for another service")
        self._seen[token] = claims
        while len(self._seen) > CACHE_SIZE:
            self._seen.popitem(last=False)
        return claims

    async def _key_of(self, token: str) -> jwt.PyJWK:
        header = jwt.get_unverified_header(token)
        key_id = header.get("kid")
        if not isinstance(key_id, str) or header.get("alg") != ALGORITHM:
            raise jwt.InvalidTokenError("unknown algorithm or key")
        if key_id not in self._keys:
            await self._fetch_keys()
        if key_id not in self._keys:
            raise jwt.InvalidTokenError("unknown key")
        return self._keys[key_id]

    async def _fetch_keys(self) -> None:
        async with self._fetching:
            # A made-up key id must not become a call to auth for each request.
            if time.monotonic() - self._fetched_at < 1:
                return
            answer = await self.auth.call("GET", "/.well-known/jwks.json", Jwks)
            self._fetched_at = time.monotonic()
            self._keys = {key["kid"]: jwt.PyJWK(dict(key), algorithm=ALGORITHM) for key in answer.keys}

    def _is_revoked(self, claims: Claims) -> bool:
        subjects = (
            f"session:{claims.sid}",
            f"token:{claims.jti}",
            f"user:{claims.sub}",
            f"member:{claims.sub}:{claims.gid}",
        )
        return any(claims.iat < self._revoked.get(subject, 0) for subject in subjects)

    async def follow_revocations(self) -> None:
        """Runs until cancelled: reads the short list of revocations and the keys again and again."""
        while True:
            with suppress(KasalError):
                answer = await self.auth.call("GET", "/.well-known/revocations.json", Revocations)
                self._revoked = {item.subject: item.before for item in answer.items}
            await asyncio.sleep(REVOCATION_POLL.total_seconds())


@asynccontextmanager
async def open_verifier(auth: Peer, service: str) -> AsyncGenerator[TokenVerifier]:
    verifier = TokenVerifier(auth, service)
    following = asyncio.create_task(verifier.follow_revocations(), name="revocations")
    try:
        yield verifier
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


class ServiceTokenIn(BaseModel):
    service: str
    audience: str
    act: Act | None = None


class ServiceTokenOut(BaseModel):
    token: str
    expires_in: int


@dataclass
class ServiceTokens:
    """Tokens in our own name, or in that of an execution, from auth against the bootstrap key."""

    auth: Peer
    service: str
    bootstrap_key: SecretStr
    _held: dict[tuple[str, Act | None], tuple[str, float]] = field(default_factory=dict)

    async def get(self, audience: str, act: Act | None = None) -> str:
        """A token for `audience`, at least a minute valid. Raises PeerRefusedError or PeerUnavailableError."""
        held = self._held.get((audience, act))
        if held is not None and held[1] > time.monotonic():
            return held[0]
        answer = await self.auth.call(
            "POST",
            "/internal/service-tokens",
            ServiceTokenOut,
            body=ServiceTokenIn(service=self.service, audience=audience, act=act),
            headers={"X-Kasal-Bootstrap": self.bootstrap_key.get_secret_value()},
        )
        now = time.monotonic()
        self._held = {key: value for key, value in self._held.items() if value[1] > now}
        self._held[audience, act] = (answer.token, now + answer.expires_in - 60)
        return answer.token
