"""The whole of Kasal in one process: SQLite, an in-process bus, each service on a Unix socket of its own.

Executions still run in processes of their own, as everywhere.
"""

import asyncio
import fcntl
import os
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kasal_runtime.hosting import open_bus, open_host, serving
from kasal_runtime.metrics import HttpMetrics, new_registry
from kasal_runtime.settings import CommonSettings
from pydantic import SecretStr

from .migrating import migrate_all
from .registry import SERVICES, find_service
from .secrets import ADMIN_EMAIL, MachineSecrets, machine_secrets

# Until then an execution would wait; after that it waits and `kasal runs` says so.
WARM_WITHIN_S = 30
SUN_PATH_LIMIT = 100  # bytes of a Unix socket's path that the kernel takes, less a name


class DataDirBusyError(Exception):
    def __init__(self, data_dir: Path) -> None:
        super().__init__(f"another Kasal is using {data_dir}; stop it, or choose another with --data-dir")


@dataclass(frozen=True)
class Embedded:
    """A running stack. `first_start` is true when the data directory was empty before."""

    url: str
    admin_email: str
    secrets: MachineSecrets
    first_start: bool


@dataclass(frozen=True)
class Embedding:
    """How to run it: where the files are, and where the public door is."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8000
    slots: int = 4


@contextmanager
def locked(data_dir: Path) -> Generator[None]:
    """Holds the data directory for this process, whose new files are its owner's alone. Raises DataDirBusyError."""
    before = os.umask(0o077)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with (data_dir / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataDirBusyError(data_dir) from error
            yield
    finally:
        os.umask(before)


@contextmanager
def socket_folder(data_dir: Path) -> Generator[Path]:
    """A private folder for sockets: in the data directory, or in a short one where its path is too long."""
    inside = (data_dir / "run").absolute()
    if len(os.fsencode(inside)) <= SUN_PATH_LIMIT - len("/executor.sock"):
        inside.mkdir(parents=True, exist_ok=True, mode=0o700)
        for stale in inside.glob("*.sock"):
            stale.unlink()
        yield inside
        return
    with tempfile.TemporaryDirectory(prefix="kasal-") as folder:
        yield Path(folder)


@asynccontextmanager
async def open_embedded(embedding: Embedding) -> AsyncGenerator[Embedded]:
    """Migrates, then runs every service and one worker until the context closes.

    Raises DataDirBusyError, or OSError when the port is taken.
    """
    from kasal_executor.worker.service import open_worker
    from kasal_executor.worker.settings import WorkerSettings

    data_dir = embedding.data_dir.absolute()
    async with AsyncExitStack() as stack:
        stack.enter_context(locked(data_dir))
        first_start = not (data_dir / "db").exists()
        sockets = stack.enter_context(socket_folder(data_dir))
        chosen, secrets, email = embedded_settings(data_dir, sockets)
        common = CommonSettings(**chosen)
        await migrate_all(common)
        bus = await stack.enter_async_context(open_bus(common))
        metrics = HttpMetrics(new_registry())
        port = 0
        for name in SERVICES:
            service = find_service(name)
            host = await stack.enter_async_context(open_host(name, common, bus, metrics))
            app = await stack.enter_async_context(service.open(service.settings(**chosen), host))
            if name == "gateway":
                where = serving(app, host=embedding.host, port=embedding.port)
            else:
                where = serving(app, uds=sockets / f"{name}.sock")
            port = await stack.enter_async_context(where)
        worker_host = await stack.enter_async_context(open_host("worker", common, bus, metrics))
        worker = WorkerSettings(**chosen, slots=embedding.slots, egress_loopback=True, own_ports=frozenset({port}))
        opened = await stack.enter_async_context(open_worker(worker, worker_host))
        with suppress(TimeoutError):
            async with asyncio.timeout(WARM_WITHIN_S):
                await opened.wait_ready()
        yield Embedded(f"http://{embedding.host}:{port}", email, secrets, first_start)


def embedded_settings(data_dir: Path, sockets: Path) -> tuple[dict[str, Any], MachineSecrets, str]:
    """What every service is told; it goes before the environment."""
    from kasal_auth.settings import AuthSettings

    given = AuthSettings()
    secret_dir = data_dir / "secrets"
    password = given.admin_password
    secrets = machine_secrets(secret_dir, password if password.get_secret_value() else None)
    email = given.admin_email or ADMIN_EMAIL
    chosen = {
        "database_url": SecretStr(f"sqlite:///{data_dir / 'db'}"),
        "amqp_url": SecretStr(""),
        "data_dir": data_dir,
        "secret_dir": secret_dir,
        "encryption_keys": secrets.encryption_keys,
        "admin_email": email,
        "admin_password": secrets.admin_password,
        **{f"{name}_url": f"unix:{sockets / name}.sock" for name in SERVICES if name != "gateway"},
    }
    return chosen, secrets, email
