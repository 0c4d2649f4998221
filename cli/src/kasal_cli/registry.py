"""Which services there are, and how one is found by its name."""

from importlib import import_module

from kasal_runtime.service import Service

# In the order in which they start: each one's peers come before it where that is possible.
SERVICES = ("auth", "crews", "memory", "executor", "gateway")


class NotInstalledError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"the {name} service is not installed here; add the package kasal-{name}")


def find_service(name: str) -> Service:
    """Raises NotInstalledError where an image holds other services only."""
    try:
        module = import_module(f"kasal_{name}.service")
    except ModuleNotFoundError as error:
        if error.name != f"kasal_{name}":
            raise
        raise NotInstalledError(name) from error
    service: Service = module.SERVICE
    return service
