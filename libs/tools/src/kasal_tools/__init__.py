"""Tools that agents may use: the plug-in interface, the built-in plug-ins and how installed ones are found.

A plug-in is an ordinary class registered as an entry point of the group `kasal.tools`. It runs inside the isolated
process of one execution, sees no secret and opens no socket: whatever it needs from outside goes through its context.
"""

from .installed import GROUP, Discovery, discover, installed_tools
from .plugins import (
    Category,
    Effect,
    HttpCall,
    HttpResponse,
    NoConfig,
    ToolContext,
    ToolError,
    ToolPlugin,
)

__all__ = [
    "GROUP",
    "Category",
    "Discovery",
    "Effect",
    "HttpCall",
    "HttpResponse",
    "NoConfig",
    "ToolContext",
    "ToolError",
    "ToolPlugin",
    "discover",
    "installed_tools",
]
