"""What the service does by itself: make itself ready at start, however late the database comes, and tidy up."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import structlog
from kasal_contracts.errors import KasalError, UnavailableError
from kasal_db import Database
from kasal_db.migrations import is_current

from .exchange import forget_tickets
from .first_admin import FirstAdminMissingError, ensure_first_admin
from .resources import Resources
from .revocations import forget_revocations
from .sessions import forget_sessions
from .throttle import forget_attempts

RETRY = timedelta(seconds=1)
PERIOD = timedelta(minutes=30)

log = structlog.get_logger(__name__)


class SchemaMissingError(UnavailableError):
    def __init__(self) -> None:
        super().__init__("the tables of auth are not up to date; run `kasal migrate`")


@dataclass
class Upkeep:
    """`problem` says why the service is not ready, and is empty once it is."""

    resources: Resources
    versions: Path
    problem: str = field(default="starting", init=False)

    async def check(self) -> None:
        """For `/readyz`. Raises UnavailableError until everything is prepared."""
        if self.problem:
            raise UnavailableError(self.problem)

    async def prepare(self) -> None:
        """Raises FirstAdminMissingError; while the database does not answer it only notes that."""
        try:
            await self._prepare()
        except KasalError as error:
            self.problem = error.detail
            log.warning("not_ready", reason=error.detail)
            if isinstance(error, FirstAdminMissingError):
                raise
        else:
            self.problem = ""

    async def _prepare(self) -> None:
        resources, settings = self.resources, self.resources.settings
        await resources.database.check()
        if not await is_current(settings.database_url.get_secret_value(), "auth", self.versions):
            raise SchemaMissingError
        await self._renew_signing_key()
        hasher = resources.passwords.hasher
        await ensure_first_admin(resources.database, settings.admin_email, settings.admin_password, hasher)

    async def _renew_signing_key(self) -> None:
        async with self.resources.database.system() as session:
            await self.resources.signer.renew(session, self.resources.settings.signing_key_lifetime)

    async def follow(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep((RETRY if self.problem else PERIOD).total_seconds())
            with suppress(KasalError):
                if self.problem:
                    await self.prepare()
                else:
                    await self._renew_signing_key()
                    await tidy(self.resources.database, self.resources.settings.login_window)


async def tidy(database: Database, login_window: timedelta) -> None:
    """Delete what has expired."""
    async with database.system() as session:
        await forget_revocations(session)
        await forget_attempts(session, login_window)
        await forget_tickets(session)
        await forget_sessions(session)


@asynccontextmanager
async def keeping_up(resources: Resources, versions: Path) -> AsyncGenerator[Upkeep]:
    """Raises FirstAdminMissingError where the database answers and nobody could ever log in."""
    upkeep = Upkeep(resources, versions)
    await upkeep.prepare()
    following = asyncio.create_task(upkeep.follow(), name="auth-upkeep")
    try:
        yield upkeep
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
