"""What a tool asks of the egress broker (`POST /tools/http` on its socket)."""

from pydantic import Field

from .wire import Frozen, Strict


class ToolHttpIn(Strict):
    """One request of `tool`, whose configuration and keys the broker adds. `body` is base64."""

    tool: str
    method: str = Field(pattern=r"^[A-Z]{3,7}$")
    url: str = Field(max_length=8192)
    headers: dict[str, str] = {}
    body: str | None = None
    timeout_s: float = Field(default=30, gt=0, le=300)


class ToolHttpOut(Frozen):
    """The response, whatever its status. `body` is base64; `truncated` says that it was longer."""

    status: int
    headers: dict[str, str] = {}
    body: str = ""
    truncated: bool = False
