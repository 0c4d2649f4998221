"""A stand-in for the auth service: real Ed25519 tokens, a real JWKS and revocations, over real HTTP."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from kasal_contracts.identity import Act, Role
from kasal_contracts.ids import new_id
from kasal_runtime.hosting import serving
from kasal_runtime.tokens import (
    ALGORITHM,
    AUDIENCE,
    ISSUER,
    Claims,
    Jwks,
    Revocation,
    Revocations,
    ServiceTokenIn,
    ServiceTokenOut,
)


@dataclass
class Issuer:
    """Signs tokens as auth does. `revoke` makes them invalid for whoever follows the revocations."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    key_id: str = "test-1"
    revoked: list[Revocation] = field(default_factory=list)

    def token(
        self,
        *,
        group: str = "g1",
        user: str = "user-1",
        role: Role = Role.ADMIN,
        session: str = "session-1",
        system_admin: bool = False,
        audience: str = AUDIENCE,
        lifetime_s: float = 900,
        service: str | None = None,
        act: Act | None = None,
    ) -> str:
        claims = Claims(
            sub=user,
            gid=group,
            role=role,
            jti=new_id(),
            sid=session,
            iss=ISSUER,
            aud=audience,
            iat=time.time(),
            exp=time.time() + lifetime_s,
            sys=system_admin,
            service=service,
            act=act,
        )
        return self.signed(claims.model_dump(mode="json", exclude_none=True))

    def signed(self, claims: dict[str, object]) -> str:
        return jwt.encode(claims, self.key, algorithm=ALGORITHM, headers={"kid": self.key_id})

    def service_token(self, audience: str, act: Act | None = None, service: str = "worker") -> str:
        group = act.group_id if act else ""
        return self.token(
            group=group, user=f"service:{service}", role=Role.VIEWER, audience=audience, service=service, act=act
        )

    def revoke(self, subject: str) -> None:
        self.revoked.append(Revocation(subject=subject, before=time.time()))

    def app(self) -> FastAPI:
        """The part of auth that other services depend on."""
        app = FastAPI()

        @app.get("/.well-known/jwks.json")
        async def jwks() -> Jwks:
            public = jwt.get_algorithm_by_name(ALGORITHM).to_jwk(self.key.public_key(), as_dict=True)
            return Jwks(keys=[{**public, "kid": self.key_id, "alg": ALGORITHM, "use": "sig"}])

        @app.get("/.well-known/revocations.json")
        async def revocations() -> Revocations:
            return Revocations(items=self.revoked)

        @app.post("/internal/service-tokens")
        async def service_tokens(order: ServiceTokenIn) -> ServiceTokenOut:
            return ServiceTokenOut(token=self.service_token(order.audience, order.act, order.service), expires_in=300)

        @app.get("/healthz")
        async def healthz() -> dict[str, str]:
            return {"status": "ok"}

        return app


@asynccontextmanager
async def open_issuer(socket: Path) -> AsyncGenerator[Issuer]:
    """An issuer whose part of auth answers on the Unix socket `socket`."""
    issuer = Issuer()
    async with serving(issuer.app(), uds=socket):
        yield issuer
