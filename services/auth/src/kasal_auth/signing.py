"""The keys that sign access tokens (Ed25519, RFC 8037). They lie encrypted in the database, so replicas share them."""

import base64
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from kasal_contracts.errors import UnavailableError
from kasal_contracts.ids import new_id
from kasal_db import Keyring, UndecryptableError, db_now
from kasal_runtime.tokens import ALGORITHM, Claims, Jwks
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from .tables import SigningKey

# A new key is published for so long before it signs: every service has read it by then.
PUBLISHED_FIRST = timedelta(seconds=10)
# An old key stays published until nothing that it signed can be valid.
KEPT_AFTER = timedelta(hours=1)

log = structlog.get_logger(__name__)


class SigningKeyUnreadableError(UnavailableError):
    def __init__(self) -> None:
        super().__init__("no signing key can be decrypted; is KASAL_ENCRYPTION_KEYS complete?")


class Signer:
    """Signs with the newest key that everybody knows. Opened keys are kept, as they never change."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._opened: dict[str, Ed25519PrivateKey] = {}

    async def sign(self, session: AsyncSession, claims: Claims) -> str:
        """Raises SigningKeyUnreadableError."""
        known = SigningKey.created_at < db_now(-PUBLISHED_FIRST)
        rows = await session.scalars(select(SigningKey).order_by(known.desc(), SigningKey.created_at.desc()))
        for row in rows:
            private = self._open(row)
            if private is not None:
                body = claims.model_dump(mode="json", exclude_none=True)
                return jwt.encode(body, private, algorithm=ALGORITHM, headers={"kid": row.id})
        raise SigningKeyUnreadableError

    def _open(self, row: SigningKey) -> Ed25519PrivateKey | None:
        if row.id not in self._opened:
            try:
                raw = self._keyring.decrypt(row.private, bound_to=bound_to(row))
            except UndecryptableError:
                log.warning("signing_key_undecryptable", kid=row.id)
                return None
            self._opened[row.id] = Ed25519PrivateKey.from_private_bytes(base64.b64decode(raw))
        return self._opened[row.id]

    async def renew(self, session: AsyncSession, lifetime: timedelta) -> None:
        """Make a key where none younger than `lifetime` can be opened, and drop those that nothing needs."""
        rows = await _newest_first(session)
        young = set(await session.scalars(select(SigningKey.id).where(SigningKey.created_at > db_now(-lifetime))))
        if not any(row.id in young and self._open(row) is not None for row in rows):
            session.add(self._new_key())
            log.info("signing_key_made")
        stale = set(await session.scalars(select(SigningKey.id).where(SigningKey.created_at < db_now(-KEPT_AFTER))))
        for successor, row in pairwise(rows):
            if successor.id in stale:
                await session.delete(row)

    def _new_key(self) -> SigningKey:
        private = Ed25519PrivateKey.generate()
        public = base64.urlsafe_b64encode(private.public_key().public_bytes_raw()).decode().rstrip("=")
        row = SigningKey(id=new_id(), public=public)
        secret = base64.b64encode(private.private_bytes_raw()).decode()
        row.private = self._keyring.encrypt(secret, bound_to=bound_to(row))
        return row


def bound_to(row: SigningKey) -> str:
    return f"signing_keys/{row.id}"


async def published(session: AsyncSession) -> Jwks:
    """The public keys, as RFC 8037 writes them."""
    fixed = {"kty": "OKP", "crv": "Ed25519", "alg": ALGORITHM, "use": "sig"}
    return Jwks(keys=[{**fixed, "kid": row.id, "x": row.public} for row in await _newest_first(session)])


async def _newest_first(session: AsyncSession) -> Sequence[SigningKey]:
    return (await session.scalars(select(SigningKey).order_by(SigningKey.created_at.desc()))).all()
