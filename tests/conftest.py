"""Whole installations for the journeys, started once: `kasal dev`, and `kasal up` with two gateways."""

from collections.abc import Generator
from pathlib import Path

import pytest
from kasal_client import Kasal
from kasal_db import Keyring
from kasal_testing.plugin import postgres_database
from kasal_testing.queues import own_queues
from kasal_testing.stacks import Stack, free_port, running, second_gateway

ADMIN = "admin@example.com"
PASSWORD = "a planted password 4711"
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    """`kasal dev` on an empty data directory."""
    variables = {"KASAL_ADMIN_EMAIL": ADMIN, "KASAL_ADMIN_PASSWORD": PASSWORD}
    with running(["dev", "--port", "0", "--slots", "4"], tmp_path_factory.mktemp("dev"), variables) as stack:
        yield stack


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory, postgres_server: str, amqp_url: str) -> Generator[Stack]:
    """`kasal up --workers 2` on a database of its own, with DEBUG logs for whoever looks for secrets."""
    data_dir = tmp_path_factory.mktemp("up")
    with postgres_database(postgres_server) as database_url, own_queues(amqp_url) as prefix:
        variables = {
            "KASAL_DATABASE_URL": database_url,
            "KASAL_AMQP_URL": amqp_url,
            "KASAL_AMQP_PREFIX": prefix,
            "KASAL_ENCRYPTION_KEYS": Keyring.generate("test"),
            "KASAL_ADMIN_EMAIL": ADMIN,
            "KASAL_ADMIN_PASSWORD": PASSWORD,
            "KASAL_EGRESS_ALLOW": "127.0.0.1/32",
            "KASAL_LOG_LEVEL": "debug",
            **{
                f"KASAL_{name}_URL": f"http://127.0.0.1:{free_port()}"
                for name in ("AUTH", "CREWS", "EXECUTOR", "MEMORY")
            },
        }
        with running(["up", "--workers", "2", "--port", str(free_port())], data_dir, variables) as stack:
            yield stack


@pytest.fixture(scope="session")
def replica(up: Stack) -> Generator[str]:
    """The URL of another gateway of the same installation."""
    with second_gateway(up) as url:
        yield url


@pytest.fixture(params=["dev", "up"])
def stack(request: pytest.FixtureRequest) -> Stack:
    """Each kind of installation in turn."""
    chosen: Stack = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
def kasal(stack: Stack) -> Generator[Kasal]:
    """The administrator's client of `stack`."""
    with logged_in(stack.url) as client:
        yield client


def logged_in(url: str) -> Kasal:
    client = Kasal(url)
    client.login(ADMIN, PASSWORD)
    return client
