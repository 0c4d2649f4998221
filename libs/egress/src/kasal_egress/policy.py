"""Which URLs may be called, and which addresses may be connected to."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address, ip_network
from typing import Self
from urllib.parse import urlsplit

from yarl import URL

from .addresses import Address, AddressKind, Network, effective, is_this_machine, kind_of
from .errors import EgressRefusedError

_SCHEMES = frozenset({"http", "https"})
_DEFAULT_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "postgres": 5432, "amqp": 5672, "amqps": 5671}
_LONGEST_URL = 8_192
_FORBIDDEN_TEXT = re.compile(r"[\x00-\x20\x7f\\]")
_AUTHORITY = re.compile(r"[^/?#]*//([^/?#]*)")
_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\Z")
# A host whose last label is a number is an IPv4 address to some parser: 2130706433, 0x7f.1, 0177.0.0.1.
_NUMERIC_LAST_LABEL = re.compile(r"(^|\.)(\d+|0x[0-9a-f]*)\Z")
_LOCAL_NAMES = ("localhost",)
_INTERNAL_NAMES = ("metadata", "metadata.google.internal", "metadata.goog", "instance-data", "cluster.local", "svc")
# A name is somebody else's word for an address: it may lead to a private network, but never to these.
_NEVER_BY_NAME = frozenset({AddressKind.METADATA, AddressKind.LINK_LOCAL, AddressKind.MULTICAST, AddressKind.RESERVED})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host and a port. `host` is a lower-case name or an address in its canonical form, without brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`host:port` or `[address]:port`. Raises ValueError."""
        try:
            parts = urlsplit(f"//{text}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or not port or "@" in text or parts.path:
            raise ValueError(f"{text!r} is not host:port")
        return cls(_canonical(host), port)

    @classmethod
    def of_url(cls, url: str) -> Self:
        """Where a URL leads: `postgresql+asyncpg://db/kasal` is `db:5432`. Raises ValueError without a host."""
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme.partition("+")[0])
        if not parts.hostname or port is None:
            raise ValueError(f"a {parts.scheme or 'relative'} URL without a host or a known port")
        return cls(_canonical(parts.hostname), port)


@dataclass(frozen=True, slots=True)
class Allow:
    """Places that may be reached although they are not public."""

    networks: tuple[Network, ...] = ()
    endpoints: frozenset[Endpoint] = frozenset()


def parse_allow(text: str) -> Allow:
    """Reads `10.1.0.0/16, 192.168.7.9 ollama:11434 [fd00::5]:8080`: networks, addresses and endpoints.

    Raises ValueError with the item that is wrong.
    """
    networks: list[Network] = []
    endpoints: set[Endpoint] = set()
    for item in text.replace(",", " ").split():
        try:
            networks.append(ip_network(item))
        except ValueError:
            if "/" in item:
                raise ValueError(f"{item!r} is not a network in CIDR form") from None
            endpoints.add(Endpoint.parse(item))
    return Allow(tuple(networks), frozenset(endpoints))


@dataclass(frozen=True, slots=True)
class Target:
    """A URL whose text is allowed. `address` is set where the host is a literal address."""

    url: URL
    host: str
    port: int
    address: Address | None


@dataclass(frozen=True, slots=True)
class UrlPolicy:
    """What may be called: public addresses over http and https, and what `allow` names.

    `deny_ports` are ports of this machine and `deny_endpoints` places anywhere; both win over everything else.
    `allow_loopback_ports` opens the other ports of this machine's loopback.
    """

    allow: Allow = Allow()
    allow_loopback_ports: bool = False
    deny_ports: frozenset[int] = frozenset()
    deny_endpoints: frozenset[Endpoint] = frozenset()

    def check_url(self, text: str) -> Target:
        """Judge what the text alone can tell; `check_addresses` judges where it leads. Raises EgressRefusedError."""
        target = _target(text)
        if target.address is None:
            self._check_name(target.host, target.port)
        return target

    def check_location(self, here: URL, location: str) -> Target:
        """Judge where a redirect at `here` leads. Raises EgressRefusedError."""
        try:
            there = here.join(URL(location))
        except ValueError:
            raise EgressRefusedError("the redirect cannot be read") from None
        return self.check_url(str(there))

    def check_addresses(self, host: str, port: int, addresses: Iterable[str], denied: Iterable[str] = ()) -> None:
        """All `addresses` of `host` must be allowed; `denied` are those of the `deny_endpoints` with this port.

        Raises EgressRefusedError.
        """
        forbidden = [effective(ip_address(address)) for address in denied]
        for text in addresses:
            address = effective(ip_address(text))
            if self._is_denied(address, port, forbidden):
                raise EgressRefusedError(f"{host}:{port} belongs to Kasal itself")
            kind = kind_of(address)
            if kind is not AddressKind.PUBLIC and not self._is_allowed(host, port, address, kind):
                raise EgressRefusedError(f"{host} leads to a {kind} address")

    def _check_name(self, host: str, port: int) -> None:
        name = host.removesuffix(".")
        if Endpoint(name, port) in self.allow.endpoints:
            return
        # Where a local name may be meant, its addresses decide.
        local = self.allow_loopback_ports or any(endpoint.port == port for endpoint in self.allow.endpoints)
        refused = _INTERNAL_NAMES if local else _INTERNAL_NAMES + _LOCAL_NAMES
        if any(name == internal or name.endswith(f".{internal}") for internal in refused):
            raise EgressRefusedError(f"{name} is an internal name")

    def _is_denied(self, address: Address, port: int, forbidden: list[Address]) -> bool:
        if address in forbidden:
            return True
        may_be_ours = port in self.deny_ports or any(map(is_this_machine, forbidden))
        return may_be_ours and is_this_machine(address)

    def _is_allowed(self, host: str, port: int, address: Address, kind: AddressKind) -> bool:
        if kind is AddressKind.LOOPBACK and self.allow_loopback_ports:
            return True
        if Endpoint(str(address), port) in self.allow.endpoints:
            return True
        if Endpoint(host.removesuffix("."), port) in self.allow.endpoints:
            return kind not in _NEVER_BY_NAME
        holders = [network for network in self.allow.networks if address in network]
        if kind is AddressKind.METADATA:
            return any(network.num_addresses == 1 for network in holders)
        return bool(holders)


def _target(text: str) -> Target:
    if len(text) > _LONGEST_URL or _FORBIDDEN_TEXT.search(text):
        raise EgressRefusedError("the URL is too long or holds a blank, a control character or a backslash")
    authority = _AUTHORITY.match(text)
    if authority is None or "@" in authority[1]:
        raise EgressRefusedError("the URL has no host, or holds user information")
    try:
        url = URL(text)
    except ValueError:
        raise EgressRefusedError("the URL cannot be read") from None
    host, port = url.raw_host, url.port
    if url.scheme not in _SCHEMES or not host or not port:
        raise EgressRefusedError("the URL is not one of http or https with a host and a port")
    return Target(url.with_fragment(None), host, port, _literal(host))


def _literal(host: str) -> Address | None:
    """The address that `host` spells, `None` for a name. Raises EgressRefusedError for an unusual spelling."""
    try:
        if ":" in host:
            address = IPv6Address(host)
            if address.scope_id is None:
                return address
        elif not _NUMERIC_LAST_LABEL.search(host.removesuffix(".")):
            if _HOST_NAME.match(host.removesuffix(".")):
                return None
        else:
            return IPv4Address(host)
    except AddressValueError:
        pass
    raise EgressRefusedError("the host is neither a name nor an address in its usual form")


def _canonical(host: str) -> str:
    try:
        return str(effective(ip_address(host)))
    except ValueError:
        return host.lower().removesuffix(".")
