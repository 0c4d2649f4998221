"""Memory for a child: its calls go to the memory service under the identity in the snapshot, never the child's own."""

from aiohttp import web
from kasal_contracts.executions import ErrorCode
from kasal_contracts.memory import IdentityRecallIn, IdentityRemembersIn, RecallIn, RemembersIn
from kasal_runtime.service import Host
from pydantic import ValidationError

from .guests import Guest
from .refusals import BrokerRefusedError


class MemoryCalls:
    def __init__(self, host: Host) -> None:
        self._host = host

    async def handle(self, request: web.Request, guest: Guest) -> web.StreamResponse:
        """`POST /memory/search` with RecallIn, `POST /memory/records` with RemembersIn; the service's own answers."""
        what = request.match_info["what"]
        try:
            body = _bound(what, await request.read(), guest)
        except ValidationError as error:
            raise BrokerRefusedError(
                f"This is not something to remember or recall: {error.errors(include_url=False)[0]['msg']}.",
                code=ErrorCode.INTERNAL,
                status=422,
            ) from None
        token = await self._host.tokens.get("memory", guest.claim.act)
        typed = {"Content-Type": "application/json"}
        async with self._host.peer("memory").open(
            "POST", f"/internal/memory/{what}", token=token, headers=typed, body=body.model_dump_json().encode()
        ) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")


def _bound(what: str, body: bytes, guest: Guest) -> IdentityRecallIn | IdentityRemembersIn:
    """The body with the identity of the execution's crew. Raises ValidationError and BrokerRefusedError."""
    snapshot = guest.claim.snapshot
    if snapshot.memory_identity is None:
        raise BrokerRefusedError("The crew of this execution has no memory.", code=ErrorCode.INTERNAL, status=409)
    if what == "search":
        asked = RecallIn.model_validate_json(body)
        return IdentityRecallIn(**dict(asked), identity=snapshot.memory_identity, crew_id=snapshot.crew_id)
    told = RemembersIn.model_validate_json(body)
    return IdentityRemembersIn(**dict(told), identity=snapshot.memory_identity, crew_id=snapshot.crew_id)
