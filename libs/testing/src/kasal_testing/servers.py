"""Real servers for tests: given, found, started in a container, or installed. Never skipped in silence."""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

STARTED_WITHIN_S = 60


class NoServerError(Exception):
    """The one sentence that a developer without a server reads."""

    def __init__(self, kind: str, variable: str, example: str) -> None:
        super().__init__(
            f"the tests need a real {kind}: start one on its usual port, or set {variable} (such as {example}), "
            f"or run a Docker engine, or run as root on Debian or Ubuntu to have it installed"
        )


@dataclass(frozen=True)
class Kind:
    """One sort of server: where it is told, where it usually answers, and how Debian installs and starts it."""

    name: str
    variable: str
    usual: tuple[str, ...]
    packages: tuple[str, ...]
    start: tuple[tuple[str, ...], ...]
    image: str
    port: int
    environment: tuple[tuple[str, str], ...]
    ready: str

    def container(self) -> DockerContainer:
        container = DockerContainer(self.image).with_exposed_ports(self.port)
        for name, value in self.environment:
            container = container.with_env(name, value)
        return container.waiting_for(LogMessageWaitStrategy(self.ready))


POSTGRES = Kind(
    name="PostgreSQL",
    variable="KASAL_TEST_DATABASE_URL",
    usual=(
        "postgresql://postgres@127.0.0.1:5432/postgres",
        "postgresql://postgres:postgres@127.0.0.1:5432/postgres",
        "postgresql://kasal:kasal@127.0.0.1:5432/postgres",
    ),
    packages=("postgresql",),
    start=(
        ("sh", "-c", "pg_ctlcluster --skip-systemctl-redirect $(ls /etc/postgresql | tail -1) main start"),
        (
            "su",
            "postgres",
            "-c",
            "for i in $(seq 60); do pg_isready -q && break; sleep 0.5; done; "
            "psql -c \"create role kasal superuser login password 'kasal'\"",
        ),
    ),
    image="postgres:17",
    port=5432,
    environment=(("POSTGRES_USER", "kasal"), ("POSTGRES_PASSWORD", "kasal")),
    ready="PostgreSQL init process complete; ready for start up",
)
RABBITMQ = Kind(
    name="RabbitMQ",
    variable="KASAL_TEST_AMQP_URL",
    usual=("amqp://guest:guest@127.0.0.1:5672/",),
    packages=("rabbitmq-server",),
    start=(("sh", "-c", "rabbitmqctl await_startup --timeout 5 || rabbitmq-server -detached"),),
    image="rabbitmq:4",
    port=5672,
    environment=(),
    ready="Server startup complete",
)


@contextmanager
def server(kind: Kind) -> Generator[str]:
    """The URL of a server that answers. Raises NoServerError."""
    given = os.environ.get(kind.variable)
    if given:
        yield given
        return
    found = first_open(kind.usual)
    if found is None and _docker_answers():
        with _container(kind) as url:
            yield url
        return
    if found is None and _may_install():
        _install(kind)
        found = wait_open(kind.usual)
    if found is None:
        raise NoServerError(kind.name, kind.variable, kind.usual[0])
    yield found


def first_open(urls: Sequence[str]) -> str | None:
    """The first URL whose server lets us in."""
    return next((url for url in urls if _lets_in(url)), None)


def wait_open(urls: Sequence[str]) -> str | None:
    for _ in range(STARTED_WITHIN_S):
        found = first_open(urls)
        if found is not None:
            return found
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(["sleep", "1"], check=False, timeout=2)
    return None


def _lets_in(url: str) -> bool:
    parts = urlsplit(url)
    if not _listens(parts.hostname or "", parts.port or 0):
        return False
    return parts.scheme != "postgresql" or _postgres_lets_in(url)


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def _postgres_lets_in(url: str) -> bool:
    async def connects() -> bool:
        try:
            connection = await asyncpg.connect(url, timeout=5)
        except (OSError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True

    return asyncio.run(connects())


def _docker_answers() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        return subprocess.run([docker, "info"], capture_output=True, timeout=10, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@contextmanager
def _container(kind: Kind) -> Generator[str]:
    usual = urlsplit(kind.usual[-1])
    with kind.container() as running:
        where = f"{running.get_container_host_ip()}:{running.get_exposed_port(kind.port)}"
        yield usual._replace(netloc=f"{usual.username}:{usual.password}@{where}").geturl()


def _may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None and Path("/etc/debian_version").exists()


def _install(kind: Kind) -> None:
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=False, env=quiet, timeout=300)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *kind.packages]
    subprocess.run(command, check=True, env=quiet, timeout=900)
    for line in kind.start:
        subprocess.run(line, check=False, timeout=120)
