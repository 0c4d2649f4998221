"""Tokens for services, against the key that all of them share."""

import hmac
from typing import Annotated

from fastapi import APIRouter, Header
from kasal_contracts.errors import UnauthenticatedError
from kasal_runtime.tokens import ServiceTokenIn, ServiceTokenOut

from .resources import Shared

router = APIRouter(tags=["internal"])

BootstrapKey = Annotated[str, Header(alias="X-Kasal-Bootstrap")]


@router.post("/internal/service-tokens", include_in_schema=False)
async def create_service_token(body: ServiceTokenIn, shared: Shared, shown: BootstrapKey = "") -> ServiceTokenOut:
    expected = shared.bootstrap_key.get_secret_value()
    if not hmac.compare_digest(shown.encode(), expected.encode()):
        raise UnauthenticatedError("the bootstrap key is not right")
    async with shared.database.system(read_only=True) as session:
        issued = await shared.tokens.for_service(session, body.service, body.audience, body.act)
    return ServiceTokenOut(token=issued.token, expires_in=int(issued.lifetime.total_seconds()))
