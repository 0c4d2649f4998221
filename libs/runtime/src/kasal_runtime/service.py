"""A service is a small recipe; a host gives it what it shares with the others."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kasal_bus import Bus
from sqlalchemy import MetaData
from starlette.types import ASGIApp

from .metrics import HttpMetrics
from .peers import Peer
from .settings import CommonSettings
from .tokens import ServiceTokens, TokenVerifier


@dataclass(frozen=True)
class Host:
    """What a service may use of the outside. `peer(name)` is another service; `tokens` speaks for ourselves."""

    bus: Bus
    peer: Callable[[str], Peer]
    verifier: TokenVerifier
    tokens: ServiceTokens
    metrics: HttpMetrics


@dataclass(frozen=True)
class Service:
    """`open` acquires everything that the service needs, yields its ASGI application and gives all back.

    `versions` is the folder of its migrations and `metadata` its tables, where it has a database.
    """

    name: str
    settings: type[CommonSettings]
    open: Callable[[Any, Host], AbstractAsyncContextManager[ASGIApp]]
    versions: Path | None = None
    metadata: MetaData | None = None
