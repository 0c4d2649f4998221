"""The way out: HTTP to the worker's egress broker over a Unix socket."""

import socket
import threading
import weakref
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import httpcore
import httpx
from httpcore import SOCKET_OPTION

ORIGIN = "http://egress"
# The broker has its own limits for each call; this one only ends a wait for a broker that hangs.
TIMEOUT = httpx.Timeout(connect=10, read=1800, write=60, pool=60)


class SeverableBackend(httpcore.NetworkBackend):
    """Connections that another thread can cut, which ends a read that would block for ever."""

    def __init__(self) -> None:
        self._plain = httpcore.SyncBackend()
        self._lock = threading.Lock()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[SOCKET_OPTION] | None = None
    ) -> httpcore.NetworkStream:
        stream = self._plain.connect_unix_socket(path, timeout, socket_options)
        with self._lock:
            self._sockets.add(stream.get_extra_info("socket"))
        return stream

    def sever(self) -> None:
        with self._lock:
            connected = list(self._sockets)
        for each in connected:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:  # already closed by its owner
                continue


class BrokerTransport(httpx.HTTPTransport):
    """`httpx.HTTPTransport` takes no network backend, so this one brings its own pool."""

    def __init__(self, path: str) -> None:
        self.backend = SeverableBackend()
        self._pool = httpcore.ConnectionPool(uds=path, network_backend=self.backend, max_connections=None)


class Broker:
    """One attempt's access to models, memory and HTTP. `token` is good for this attempt alone."""

    def __init__(self, path: str, token: str, transport: httpx.BaseTransport | None = None) -> None:
        self.token = token
        self._transport = transport or BrokerTransport(path)
        self.client = httpx.Client(
            base_url=ORIGIN,
            transport=self._transport,
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT,
            trust_env=False,
        )

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return self.client.post(path, json=body)

    def sever(self) -> None:
        if isinstance(self._transport, BrokerTransport):
            self._transport.backend.sever()


def model_url(alias: str) -> str:
    return f"{ORIGIN}/llm/{quote(alias, safe='')}"
