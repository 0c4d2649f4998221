"""`kasal up`: every service and the workers as separate local processes, watched and restarted."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from kasal_bus import BusUnavailableError, open_rabbit
from kasal_contracts.errors import KasalError
from kasal_db import Keyring, open_database
from kasal_runtime.peers import open_peer
from kasal_runtime.settings import CommonSettings
from pydantic import SecretStr

from .console import out
from .credentials import keep_local_credential
from .migrating import migrate_all
from .registry import SERVICES
from .secrets import ensure_bootstrap_key

GRACE_S = 15.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
STEADY_S = 30.0

log = structlog.get_logger(__name__)


class RefusedError(Exception):
    """`kasal up` cannot start like this; the message says what to do."""


@dataclass(frozen=True)
class Part:
    """One process to keep alive. `name` is for people; a worker's command line holds the word `worker`."""

    name: str
    arguments: tuple[str, ...]


async def bring_up(data_dir: Path, host: str, port: int, workers: int, *, stopped: Callable[[], asyncio.Event]) -> None:
    """Runs until `stopped` is set.

    Raises RefusedError for settings that cannot work, and FirstAdminMissingError when nobody could log in.
    """
    from kasal_auth.first_admin import ensure_first_admin
    from kasal_auth.settings import AuthSettings

    settings = AuthSettings()
    _check(settings, settings.encryption_keys)
    stop = stopped()
    ensure_bootstrap_key(_secret_dir(settings, data_dir))
    await _wait_for_dependencies(settings)
    await migrate_all(settings)
    async with open_database(settings.database_url.get_secret_value(), "auth", pool_size=1) as database:
        await ensure_first_admin(database, settings.admin_email, settings.admin_password)
    parts, environment = plan(settings, data_dir, host, port, workers)
    async with AsyncExitStack() as stack:
        watching = [asyncio.create_task(keep_running(part, environment, stop), name=part.name) for part in parts]
        stack.push_async_callback(_gather, watching)
        stack.callback(stop.set)
        url = f"http://{host}:{port}"
        ready = asyncio.create_task(_wait_ready(url), name="ready")
        ended = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            await _greet(url, data_dir, settings.admin_email, settings.admin_password)
            await ended
        ready.cancel()


def _check(settings: CommonSettings, encryption_keys: SecretStr) -> None:
    if not settings.database_url.get_secret_value().startswith("postgresql://"):
        raise RefusedError("KASAL_DATABASE_URL must name a PostgreSQL: postgresql://user:password@host:5432/kasal")
    if not settings.amqp_url.get_secret_value():
        raise RefusedError("KASAL_AMQP_URL must name a RabbitMQ: amqp://user:password@host:5672/")
    if not encryption_keys.get_secret_value():
        raise RefusedError("KASAL_ENCRYPTION_KEYS is not set; `kasal keys generate` prints one to keep")
    Keyring.parse(encryption_keys)


def _secret_dir(settings: CommonSettings, data_dir: Path) -> Path:
    given = "secret_dir" in settings.model_fields_set
    return settings.secret_dir.absolute() if given else data_dir / "secrets"


async def _wait_for_dependencies(settings: CommonSettings) -> None:
    """A database or broker that is away is waited for, with a word about it."""
    async with (
        open_database(settings.database_url.get_secret_value(), "public", pool_size=1) as database,
        open_rabbit(settings.amqp_url.get_secret_value()) as bus,
    ):
        for name, check in (("PostgreSQL", database.check), ("RabbitMQ", bus.check)):
            told = False
            while not await _answers(check):
                if not told:
                    out.print(f"waiting for {name} …", highlight=False)
                told = True
                await asyncio.sleep(1)


async def _answers(check: Callable[[], Awaitable[None]]) -> bool:
    try:
        await check()
    except (KasalError, BusUnavailableError):
        return False
    return True


def plan(
    settings: CommonSettings, data_dir: Path, host: str, port: int, workers: int
) -> tuple[list[Part], Mapping[str, str]]:
    """The processes, and the environment that tells each where the others are."""
    ports = {name: port if name == "gateway" else _internal_port(settings, name) for name in SERVICES}
    parts = [
        Part(name, ("serve", name, "--host", host if name == "gateway" else "127.0.0.1", "--port", str(ports[name])))
        for name in SERVICES
    ]
    parts += [Part(f"worker {number}", ("worker",)) for number in range(1, workers + 1)]
    environment = {
        **os.environ,
        "KASAL_DATA_DIR": str(data_dir),
        "KASAL_SECRET_DIR": str(_secret_dir(settings, data_dir)),
        "KASAL_OWN_PORTS": json.dumps(sorted(ports.values())),
        **{f"KASAL_{name.upper()}_URL": f"http://127.0.0.1:{taken}" for name, taken in ports.items()},
    }
    return parts, environment


def _internal_port(settings: CommonSettings, name: str) -> int:
    """The port of KASAL_<NAME>_URL where it is set, else a free one."""
    given = urlsplit(settings.peer_url(name)).port if f"{name}_url" in settings.model_fields_set else None
    return given or free_port()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def keep_running(part: Part, environment: Mapping[str, str], stop: asyncio.Event) -> None:
    """Starts the process again when it dies, with a growing pause, until `stop`."""
    pause = FIRST_PAUSE_S
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        started = loop.time()
        code = await _run_once(part, environment, stop)
        if stop.is_set():
            return
        if loop.time() - started > STEADY_S:
            pause = FIRST_PAUSE_S
        log.warning("process_died", process=part.name, code=code, restart_in_s=pause)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()
        pause = min(pause * 2, LONGEST_PAUSE_S)


async def _run_once(part: Part, environment: Mapping[str, str], stop: asyncio.Event) -> int | None:
    # Its own session: Ctrl-C reaches us alone, and we end the processes in order.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kasal_cli", *part.arguments, env=dict(environment), start_new_session=True
    )
    dying = asyncio.create_task(process.wait())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({dying, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(GRACE_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
        await dying
    return process.returncode


async def _wait_ready(url: str) -> None:
    async with open_peer("gateway", url, timedelta(seconds=5)) as gateway:
        while True:
            with suppress(KasalError):
                async with gateway.open("GET", "/readyz") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)


async def _greet(url: str, data_dir: Path, email: str, password: SecretStr) -> None:
    if email and password.get_secret_value():
        await asyncio.to_thread(keep_local_credential, data_dir, url, email, password)
    out.print(f"Kasal is ready at {url}", highlight=False)


async def _gather(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
