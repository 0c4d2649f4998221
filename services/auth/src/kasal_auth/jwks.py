"""Where every service finds the keys that access tokens are checked with."""

from fastapi import APIRouter
from kasal_runtime.tokens import Jwks

from .resources import Shared
from .signing import published

router = APIRouter(tags=["auth"])


@router.get("/.well-known/jwks.json", summary="The public keys of access tokens (RFC 7517)")
async def read_jwks(shared: Shared) -> Jwks:
    async with shared.database.system(read_only=True) as session:
        return await published(session)
