"""Settings that every process shares. A service adds its own in a subclass."""

from datetime import timedelta
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_DATA_DIR = Path(".kasal")


class CommonSettings(BaseSettings):
    """Environment (or `.env`) of one process, read once at start. Names begin with `KASAL_`."""

    model_config = SettingsConfigDict(env_prefix="KASAL_", env_file=".env", extra="ignore", frozen=True)

    database_url: SecretStr = Field(
        default=SecretStr(""), description="postgresql://… or sqlite:///DIR; every service keeps to its own schema."
    )
    amqp_url: SecretStr = Field(default=SecretStr(""), description="amqp://…; empty means the in-process bus.")
    amqp_prefix: str = Field(default="", description="Goes before every queue's name, where a broker is shared.")
    secret_dir: Path = Field(default=DEFAULT_DATA_DIR / "secrets", description="Holds bootstrap.key, mode 0600.")
    data_dir: Path = Field(default=DEFAULT_DATA_DIR, description="Files of this machine: vector index, sockets.")
    auth_url: str = Field(default="http://127.0.0.1:8101", description="Where the auth service answers.")
    crews_url: str = Field(default="http://127.0.0.1:8102", description="Where the crews service answers.")
    executor_url: str = Field(default="http://127.0.0.1:8103", description="Where the executor answers.")
    memory_url: str = Field(default="http://127.0.0.1:8104", description="Where the memory service answers.")
    egress_allow: str = Field(default="", description="Private CIDRs or host:port that may be called, by comma.")
    log_json: bool = Field(default=True, description="Logs as JSON lines; false gives readable lines.")
    log_level: str = Field(default="info", description="debug, info, warning or error.")
    body_limit: int = Field(default=2_000_000, ge=10_000, le=1_000_000_000, description="Bytes of a request's body.")
    peer_timeout: timedelta = Field(default=timedelta(seconds=30), description="Wait for another service.")

    def peer_url(self, service: str) -> str:
        """`http://host:port` or `unix:/path/to.sock`. Raises KeyError for an unknown service."""
        urls = {
            "auth": self.auth_url,
            "crews": self.crews_url,
            "executor": self.executor_url,
            "memory": self.memory_url,
        }
        return urls[service]
