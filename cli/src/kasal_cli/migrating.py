"""Bringing every service's tables up to date."""

from collections.abc import Sequence

from kasal_db.migrations import migrate
from kasal_runtime.settings import CommonSettings

from .registry import SERVICES, find_service


async def migrate_all(settings: CommonSettings, names: Sequence[str] = SERVICES) -> list[str]:
    """Returns the names of the services that have tables."""
    url = settings.database_url.get_secret_value()
    migrated = []
    for name in names:
        service = find_service(name)
        if service.versions is not None and service.metadata is not None:
            await migrate(url, service.name, service.versions, service.metadata)
            migrated.append(name)
    return migrated
