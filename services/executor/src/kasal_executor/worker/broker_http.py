"""HTTP for tools: one request under the URL policy for tools, its answer cut to a size that an agent can use."""

import base64
import binascii
from datetime import timedelta

from aiohttp import web
from kasal_contracts.egress import ToolHttpIn, ToolHttpOut
from kasal_contracts.executions import ErrorCode
from kasal_egress import Egress, EgressResponse, Timeouts
from kasal_egress.errors import EgressError
from pydantic import ValidationError

from .guests import Guest
from .refusals import BrokerRefusedError

MAX_ANSWER_BYTES = 2**20
CONNECT_S = 10.0
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class ToolHttp:
    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    async def handle(self, request: web.Request, guest: Guest) -> web.StreamResponse:
        """`POST /tools/http` with ToolHttpIn; answers ToolHttpOut, whatever the status of the place that was asked."""
        try:
            wanted = ToolHttpIn.model_validate_json(await request.read())
            body = None if wanted.body is None else base64.b64decode(wanted.body, validate=True)
        except (ValidationError, binascii.Error):
            raise _refused("This is not a request that can be sent.", 422) from None
        guest.check_tool(wanted.tool)
        try:
            answer = await self._send(wanted, body)
        except EgressError as error:
            raise _refused(f"{error.detail[:1].upper()}{error.detail[1:]}.", error.status) from None
        return web.Response(text=answer.model_dump_json(), content_type="application/json")

    async def _send(self, wanted: ToolHttpIn, body: bytes | None) -> ToolHttpOut:
        limit = timedelta(seconds=wanted.timeout_s)
        async with self._egress.request(
            wanted.method,
            wanted.url,
            headers=wanted.headers,
            body=body,
            timeouts=Timeouts(total=limit, connect=min(limit, timedelta(seconds=CONNECT_S)), idle=limit),
            follow_redirects=True,
            repeatable=wanted.method in SAFE_METHODS,
        ) as response:
            content, truncated = await _start_of(response)
            return ToolHttpOut(
                status=response.status,
                headers=dict(response.headers),
                body=base64.b64encode(content).decode(),
                truncated=truncated,
            )


async def _start_of(response: EgressResponse) -> tuple[bytes, bool]:
    """Up to MAX_ANSWER_BYTES of the body, and whether there was more."""
    content = bytearray()
    async for chunk in response.iter_bytes():
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            return bytes(content[:MAX_ANSWER_BYTES]), True
    return bytes(content), False


def _refused(message: str, status: int) -> BrokerRefusedError:
    return BrokerRefusedError(message, code=ErrorCode.TOOL_ERROR, status=status)
