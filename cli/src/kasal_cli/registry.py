"""Which services there are, and how one is found by its name."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kasal_runtime.service import Service


# In the order in which they start: each one's peers come before it where that is possible.
SERVICES = ("auth", "crews", "memory", "executor", "gateway")


class NotInstalledError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"the {name} service is not installed here; add the package kasal-{name}")


def is_installed(name: str) -> bool:
    return find_spec(f"kasal_{name}") is not None


def find_service(name: str) -> "Service":
    """Raises NotInstalledError where an image holds other services only."""
    if not is_installed(name):
        raise NotInstalledError(name)
    module = import_module(f"kasal_{name}.service")
    service: Service = module.SERVICE
    return service
