"""Bringing every service's tables up to date."""

from kasal_db.migrations import migrate
from kasal_runtime.settings import CommonSettings

from .registry import SERVICES, find_service, is_installed


async def migrate_all(settings: CommonSettings) -> list[str]:
    """Migrates the services that are installed here; returns the names of those that have tables."""
    url = settings.database_url.get_secret_value()
    migrated = []
    for name in filter(is_installed, SERVICES):
        service = find_service(name)
        if service.versions is not None and service.metadata is not None:
            await migrate(url, service.name, service.versions, service.metadata)
            migrated.append(name)
    return migrated
