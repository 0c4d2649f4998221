"""Serves auth, as the environment says, until the standard input closes. All logs go to the standard error."""

import asyncio
import sys
from pathlib import Path

from kasal_auth.service import SERVICE
from kasal_auth.settings import AuthSettings
from kasal_bus import open_memory
from kasal_runtime.hosting import open_host, serving
from kasal_runtime.logs import configure_logs


async def serve(settings: AuthSettings) -> None:
    async with (
        open_memory() as bus,
        open_host("auth", settings, bus) as host,
        SERVICE.open(settings, host) as app,
        serving(app, uds=Path(settings.auth_url.removeprefix("unix:"))),
    ):
        print("serving", flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    configure_logs(json=True, level="debug")
    asyncio.run(serve(AuthSettings()))
