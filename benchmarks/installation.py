"""A whole Kasal for the benchmarks: `kasal up` on PostgreSQL and RabbitMQ, with one worker, on this machine."""

import socket
import tempfile
import uuid
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
from kasal_bus.topology import WORK_QUEUES
from kasal_db import Keyring
from kasal_testing.plugin import postgres_database
from kasal_testing.servers import POSTGRES, RABBITMQ, server
from kasal_testing.stacks import Stack, running

from .api import EMAIL, PASSWORD, Api, open_api
from .models import ModelServer, open_model_server

SLOTS = 50
BROKER_S = 5


@dataclass(frozen=True)
class Servers:
    database_url: str
    amqp_url: str
    amqp_prefix: str


@dataclass(frozen=True)
class Installation:
    """`direct` is where the crews service answers without the gateway."""

    stack: Stack
    api: Api
    models: ModelServer
    direct: str


@contextmanager
def open_servers() -> Generator[Servers]:
    """Raises NoServerError."""
    with server(POSTGRES) as postgres, server(RABBITMQ) as amqp_url, postgres_database(postgres) as database_url:
        yield Servers(database_url, amqp_url, f"bench.{uuid.uuid4().hex[:8]}.")


@asynccontextmanager
async def open_installation(servers: Servers) -> AsyncGenerator[Installation]:
    """Raises StackFailedError, and TimeoutError or ConnectionError without a broker."""
    async with AsyncExitStack() as stack:
        # `kasal up` would wait for a broker that does not speak.
        await (await aio_pika.connect(servers.amqp_url, timeout=BROKER_S)).close()
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kasal-bench-"))
        models = await stack.enter_async_context(open_model_server())
        stack.push_async_callback(delete_queues, servers)
        direct = f"http://127.0.0.1:{free_port()}"
        command = ["up", "--workers", "1", "--port", str(free_port())]
        kasal = stack.enter_context(running(command, Path(folder), variables(servers, models, direct)))
        api = await stack.enter_async_context(open_api(kasal.url))
        await api.log_in()
        await api.furnish(models.url)
        yield Installation(kasal, api, models, direct)


def variables(servers: Servers, models: ModelServer, direct: str) -> dict[str, str]:
    return {
        "KASAL_DATABASE_URL": servers.database_url,
        "KASAL_AMQP_URL": servers.amqp_url,
        "KASAL_AMQP_PREFIX": servers.amqp_prefix,
        "KASAL_ENCRYPTION_KEYS": Keyring.generate("bench"),
        "KASAL_ADMIN_EMAIL": EMAIL,
        "KASAL_ADMIN_PASSWORD": PASSWORD,
        "KASAL_EGRESS_ALLOW": f"127.0.0.1:{urlsplit(models.url).port}",
        "KASAL_CREWS_URL": direct,
        "KASAL_LOG_LEVEL": "warning",
        "KASAL_WORKER_SLOTS": str(SLOTS),
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def delete_queues(servers: Servers) -> None:
    """A broker that went away must not take the findings with it."""
    with suppress(TimeoutError, ConnectionError):
        connection = await aio_pika.connect(servers.amqp_url, timeout=BROKER_S)
        async with connection, connection.channel() as channel:
            for queue in WORK_QUEUES:
                for name in (queue.name, queue.dead.name):
                    await channel.queue_delete(f"{servers.amqp_prefix}{name}", timeout=BROKER_S)
