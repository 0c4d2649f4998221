"""Names become addresses here, once per connection: the addresses that were checked are those connected to."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

from aiohttp.abc import AbstractResolver, ResolveResult

from .policy import UrlPolicy

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""All addresses of a name, for a port. Raises OSError."""


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system, in its thread pool."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class PinnedResolver(AbstractResolver):
    """Gives the connector only addresses that the policy accepts.

    The connector asks once per new connection and keeps no cache of its own, so that a name cannot change its
    address between the check and the connection.
    """

    def __init__(self, policy: UrlPolicy, resolve: Resolve) -> None:
        self._policy = policy
        self._resolve = resolve

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - aiohttp's signature; both families are given
    ) -> list[ResolveResult]:
        """Raises EgressRefusedError, or OSError where a name has no address."""
        addresses = await self._resolve(host, port)
        if not addresses:
            raise OSError(f"{host} has no address")
        await self.check(host, port, addresses)
        return [_pinned(host, port, address) for address in addresses]

    async def check(self, host: str, port: int, addresses: Sequence[str]) -> None:
        denied = [
            address
            for endpoint in self._policy.deny_endpoints
            if endpoint.port == port
            for address in await self._resolve(endpoint.host, port)
        ]
        self._policy.check_addresses(host, port, addresses, denied)

    async def close(self) -> None:
        return None


def _pinned(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=socket.IPPROTO_TCP, flags=flags)
