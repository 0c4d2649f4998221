"""Plug-ins as CrewAI tools."""

import base64
from collections.abc import Mapping
from typing import Any

import httpx
from crewai.tools import BaseTool
from kasal_contracts.egress import ToolHttpIn, ToolHttpOut
from kasal_contracts.executions import ErrorCode, ResolvedTool
from kasal_tools import HttpResponse, ToolContext, ToolError, discover
from pydantic import PrivateAttr, ValidationError

from .broker import Broker
from .stop import stopped


class PluginTool(BaseTool):  # type: ignore[misc]
    """Runs a plug-in with the group's configuration."""

    _plugin: Any = PrivateAttr(default=None)
    _context: Any = PrivateAttr(default=None)

    def _run(self, **arguments: Any) -> str:
        return str(self._plugin.run(self.args_schema.model_validate(arguments), self._context))


def plugin_tool(tool: ResolvedTool, broker: Broker) -> PluginTool:
    """Raise `ExecutionStopped` when the plug-in is not here or does not accept its configuration."""
    found = discover()
    plugin = found.tools.get(tool.plugin)
    if plugin is None:
        reason = found.broken.get(tool.plugin, "it is not installed on this worker")
        raise stopped(ErrorCode.TOOL_ERROR, f"The tool “{tool.name}” cannot be used: {reason}")
    try:
        config = plugin.Config.model_validate(tool.config)
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise stopped(ErrorCode.TOOL_ERROR, f"The tool “{tool.name}” is not configured well: {where}") from None
    made = PluginTool(name=tool.name, description=plugin.description, args_schema=plugin.Arguments)
    made._plugin, made._context = plugin(), ToolContext(config, BrokerHttp(broker, tool.name))
    return made


class BrokerHttp:
    """A plug-in's `HttpCall`."""

    def __init__(self, broker: Broker, tool: str) -> None:
        self._broker = broker
        self._tool = tool

    def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 30,
    ) -> HttpResponse:
        encoded = None if body is None else base64.b64encode(body).decode()
        wanted = ToolHttpIn(
            tool=self._tool, method=method, url=url, headers=dict(headers or {}), body=encoded, timeout_s=timeout_s
        )
        try:
            answer = self._broker.post("/tools/http", wanted.model_dump(mode="json"))
        except httpx.HTTPError:
            raise ToolError(f"{url} could not be reached.") from None
        if answer.is_error:
            raise ToolError(_refusal(answer))
        out = ToolHttpOut.model_validate_json(answer.content)
        return HttpResponse(out.status, out.headers, base64.b64decode(out.body), out.truncated)


def _refusal(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"The request was refused (HTTP {answer.status_code})."
