"""What workers ask for in the name of an execution. The group comes from their token, never from a body."""

from typing import Annotated

from fastapi import APIRouter, Depends
from kasal_contracts.errors import ForbiddenError
from kasal_contracts.identity import Caller
from kasal_contracts.memory import Matches, Remembered
from kasal_runtime.security import FromService

from .bodies import ServiceRecallIn, ServiceRemembersIn
from .memory import TheMemory
from .records import Draft, save
from .searches import Search, find_matches
from .tables import scope_of

router = APIRouter(tags=["internal"])


def _acting(service: FromService) -> Caller:
    if service.act is None:
        raise ForbiddenError("the service token does not say on whose behalf it works")
    return service.model_copy(update={"group_id": service.act.group_id, "user_id": service.act.user_id})


Acting = Annotated[Caller, Depends(_acting)]


@router.post("/internal/memory/search", summary="Recall for an execution")
async def recall(order: ServiceRecallIn, me: Acting, memory: TheMemory) -> Matches:
    """From what the crew identity remembers, the saved crew was given and the group shares."""
    scopes = {order.identity, scope_of(None, order.crew_id), None}
    search = Search(query=order.query, scopes=list(scopes), top_k=order.top_k, min_score=order.min_score)
    return Matches(items=await find_matches(memory, me, search))


@router.post("/internal/memory/records", status_code=201, summary="Remember for an execution")
async def remember(order: ServiceRemembersIn, me: Acting, memory: TheMemory) -> Remembered:
    drafts = [
        Draft(
            kind=order.kind,
            text=text,
            crew_id=order.crew_id,
            identity=order.identity,
            agent=order.agent,
            session_id=order.session_id,
        )
        for text in order.texts
    ]
    return Remembered(ids=[record.id for record in await save(memory, me, drafts)])
