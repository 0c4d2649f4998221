"""The only outbound HTTP client: a URL policy, connections pinned to checked addresses, retries and caps."""

from .client import Egress, EgressLimits, open_egress
from .policy import Allow, Endpoint, UrlPolicy, parse_allow
from .response import EgressResponse
from .timeouts import Timeouts

__all__ = [
    "Allow",
    "Egress",
    "EgressLimits",
    "EgressResponse",
    "Endpoint",
    "Timeouts",
    "UrlPolicy",
    "open_egress",
    "parse_allow",
]
