"""The recipe of the auth service."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from kasal_db import Keyring, open_database
from kasal_runtime.app import service_app
from kasal_runtime.hosting import read_bootstrap_key
from kasal_runtime.service import Host, Service
from starlette.types import ASGIApp

from . import (
    account,
    api_keys,
    credentials,
    exchange,
    groups,
    jwks,
    members,
    revocations,
    service_tokens,
    sessions,
    users,
)
from .access_tokens import AccessTokens
from .passwords import open_passwords
from .resources import Resources
from .settings import AuthSettings
from .signing import Signer
from .tables import AuthTable
from .upkeep import keeping_up

VERSIONS = Path(__file__).parent / "migrations"
NOUNS = (
    sessions,
    account,
    exchange,
    users,
    groups,
    members,
    api_keys,
    credentials,
    service_tokens,
    jwks,
    revocations,
)
OPEN_PATHS = frozenset(
    {
        "/api/v1/auth/login",
        "/api/v1/auth/refresh",
        "/.well-known/jwks.json",
        "/.well-known/revocations.json",
        "/internal/service-tokens",  # guarded by the bootstrap key
    }
)


@asynccontextmanager
async def open_auth(settings: AuthSettings, host: Host) -> AsyncGenerator[ASGIApp]:
    """Raises ValueError for encryption keys that cannot be read, and FirstAdminMissingError."""
    keyring = Keyring.parse(settings.encryption_keys)
    signer = Signer(keyring)
    async with AsyncExitStack() as stack:
        url = settings.database_url.get_secret_value()
        resources = Resources(
            settings=settings,
            host=host,
            database=await stack.enter_async_context(open_database(url, "auth")),
            keyring=keyring,
            passwords=stack.enter_context(open_passwords(settings, host.metrics.registry)),
            signer=signer,
            tokens=AccessTokens(signer, settings.access_token_lifetime),
            bootstrap_key=read_bootstrap_key(settings.secret_dir),
        )
        upkeep = await stack.enter_async_context(keeping_up(resources, VERSIONS))
        yield service_app(
            "auth",
            host,
            routers=[noun.router for noun in NOUNS],
            checks={"auth": upkeep.check, "database": resources.database.check},
            body_limit=settings.body_limit,
            open_paths=OPEN_PATHS,
            state={"resources": resources},
        )


SERVICE = Service(name="auth", settings=AuthSettings, open=open_auth, versions=VERSIONS, metadata=AuthTable.metadata)
