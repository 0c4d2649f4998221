"""How the broker says no to a child: `{"error": {"code", "message"}}`, the shape that model clients understand."""

from aiohttp import web
from kasal_contracts.errors import KasalError
from kasal_contracts.executions import ErrorCode
from kasal_contracts.wire import Frozen


class Said(Frozen):
    code: str
    message: str


class Refusal(Frozen):
    """What a child reads. `message` is for people: what happened, and what to do about it."""

    error: Said


class BrokerRefusedError(KasalError):
    """A call of a child that the broker does not carry out, or that failed outside."""

    def __init__(self, message: str, *, code: ErrorCode = ErrorCode.MODEL_ERROR, status: int = 502) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def refusal(error: BrokerRefusedError) -> web.Response:
    # The clients inside the child would repeat a 5xx of their own accord; what can be repeated was repeated here.
    return web.Response(
        status=error.status,
        text=Refusal(error=Said(code=error.code, message=error.detail)).model_dump_json(),
        content_type="application/json",
        headers={"x-should-retry": "false"},
    )
