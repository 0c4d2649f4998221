"""Finding the installed plug-ins."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from inspect import isabstract, isclass

from .plugins import AnyTool, ToolPlugin

GROUP = "kasal.tools"

# What importing foreign code may raise, or looking at what was imported.
LOADING_FAILURES = (
    *(ImportError, SyntaxError, NameError, AttributeError, TypeError),
    *(ValueError, LookupError, OSError, RuntimeError, AssertionError),
)


@dataclass(frozen=True)
class Discovery:
    """`broken` says by name why a registered plug-in cannot be used."""

    tools: Mapping[str, type[AnyTool]]
    broken: Mapping[str, str]


@cache
def discover() -> Discovery:
    """Load every registered plug-in, once per process."""
    return load(entry_points(group=GROUP))


@cache
def installed_tools() -> Mapping[str, type[AnyTool]]:
    """The tools that a crew may name."""
    return {name: tool for name, tool in discover().tools.items() if tool.listed}


def load(registered: Iterable[EntryPoint]) -> Discovery:
    tools: dict[str, type[AnyTool]] = {}
    broken: dict[str, str] = {}
    for entry in sorted(registered, key=lambda each: each.name):
        try:
            tools[entry.name] = _plugin(entry)
        except LOADING_FAILURES as error:
            broken[entry.name] = f"{type(error).__name__}: {error}"
    return Discovery(tools, broken)


def _plugin(entry: EntryPoint) -> type[AnyTool]:
    plugin = entry.load()
    if not (isclass(plugin) and issubclass(plugin, ToolPlugin)) or isabstract(plugin):
        raise TypeError(f"{entry.value} is not a tool plug-in")
    if plugin.name != entry.name:
        raise ValueError(f"{entry.value} calls itself {plugin.name!r}")
    return plugin
