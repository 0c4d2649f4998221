"""Settings of a worker."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import cached_property
from pathlib import Path

from kasal_egress import Endpoint, UrlPolicy, parse_allow
from kasal_runtime.settings import CommonSettings
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

# Workers share the database of the executor's control plane.
SCHEMA = "executor"


class WorkerSettings(CommonSettings):
    """Environment of one worker, read once at start."""

    model_config = SettingsConfigDict(validate_by_name=True, validate_by_alias=True)

    slots: int = Field(
        default=8, ge=1, le=500, validation_alias="KASAL_WORKER_SLOTS", description="Executions at the same time."
    )
    spares: int = Field(
        default=2, ge=0, le=100, validation_alias="KASAL_WORKER_SPARES", description="Warm children kept ready."
    )
    lease: timedelta = Field(
        default=timedelta(seconds=10),
        ge=timedelta(seconds=1),
        validation_alias="KASAL_WORKER_LEASE",
        description="How long a silent worker keeps what it has claimed.",
    )
    beat: timedelta = Field(
        default=timedelta(seconds=3),
        gt=timedelta(0),
        validation_alias="KASAL_WORKER_BEAT",
        description="How often leases are renewed; well under half of a lease.",
    )
    drain: timedelta = Field(
        default=timedelta(seconds=10),
        ge=timedelta(0),
        validation_alias="KASAL_WORKER_DRAIN",
        description="How long executions may go on after the worker was asked to stop.",
    )
    socket_dir: Path | None = Field(
        default=None,
        validation_alias="KASAL_WORKER_SOCKET_DIR",
        description="Where the broker's socket is made; short. Empty means the system's temporary directory.",
    )
    egress_loopback: bool = Field(
        default=False, description="Models may be reached on other ports of this machine's loopback."
    )
    own_ports: frozenset[int] = Field(
        default=frozenset({8000, 8101, 8102, 8103, 8104}),
        description="Ports of Kasal on this machine, as a JSON list; never called for models or tools.",
    )
    llm_timeout: timedelta = Field(
        default=timedelta(minutes=5), gt=timedelta(0), description="The longest silence of a model."
    )
    local_model_context: int = Field(
        default=4096, ge=512, le=8192, description="Tokens that the local model reads and writes at once."
    )
    local_model_max_tokens: int = Field(
        default=200, ge=1, le=4096, description="Tokens of the local model's answer where a model names none."
    )
    local_model_idle: timedelta = Field(
        default=timedelta(minutes=5), gt=timedelta(0), description="The local model's server stops after this rest."
    )
    databricks_host: str | None = Field(
        default=None,
        validation_alias="DATABRICKS_HOST",
        description="The workspace of Databricks models that name no address.",
    )

    @cached_property
    def model_policy(self) -> UrlPolicy:
        """Where models may be. Raises ValueError for a broken KASAL_EGRESS_ALLOW."""
        return self._policy(allow_loopback=self.egress_loopback)

    @cached_property
    def tool_policy(self) -> UrlPolicy:
        """What tools may call. Raises ValueError for a broken KASAL_EGRESS_ALLOW."""
        return self._policy(allow_loopback=False)

    def _policy(self, *, allow_loopback: bool) -> UrlPolicy:
        ours = (
            *map(SecretStr, (self.auth_url, self.crews_url, self.executor_url, self.memory_url)),
            self.database_url,
            self.amqp_url,
        )
        return UrlPolicy(
            allow=parse_allow(self.egress_allow),
            allow_loopback_ports=allow_loopback,
            deny_ports=self.own_ports,
            deny_endpoints=frozenset(_endpoints(url.get_secret_value() for url in ours)),
        )


def _endpoints(urls: Iterable[str]) -> Iterator[Endpoint]:
    """Of those that lead to a host: Unix sockets and SQLite files have none."""
    for url in urls:
        if "://" in url and not url.startswith("sqlite:"):
            yield Endpoint.of_url(url)
