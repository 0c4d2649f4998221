"""Settings of the gateway, beside those that every process has."""

from datetime import timedelta

from kasal_runtime.settings import CommonSettings
from pydantic import Field


class GatewaySettings(CommonSettings):
    """Environment of one gateway, read once at start."""

    cors_origins: str = Field(default="", description="Other origins whose pages may call the API, by comma.")
    https: bool = Field(default=False, description="Browsers reach us through HTTPS alone: answers carry HSTS.")
    request_timeout: timedelta = Field(
        default=timedelta(seconds=60), description="How long nothing may move in a request before it is given up."
    )
    exchange_cache: timedelta = Field(
        default=timedelta(seconds=4),
        le=timedelta(seconds=5),
        description="How long a token for another group is used again before auth is asked anew.",
    )
    stream_heartbeat: timedelta = Field(
        default=timedelta(seconds=12),
        gt=timedelta(0),
        le=timedelta(seconds=15),
        description="Silence on a stream after which a comment is sent and the log is read again.",
    )
    stream_buffer: int = Field(
        default=256, ge=1, le=10_000, description="Live messages kept for a slow client before it reads the log."
    )

    @property
    def allowed_origins(self) -> list[str]:
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]
