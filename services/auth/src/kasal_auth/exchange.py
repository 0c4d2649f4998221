"""Tickets, and tokens for another group of the same user. The gateway turns what it was shown into a token here."""

from datetime import timedelta

from fastapi import APIRouter
from kasal_contracts.credentials import ExchangeIn, ExchangeOut
from kasal_contracts.errors import UnauthenticatedError
from kasal_db import db_now
from kasal_runtime.security import FromService, Viewer
from pydantic import BaseModel
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from .access_tokens import database_time, digest_of, live_standing, new_secret
from .resources import Resources, Shared, Writing
from .tables import LoginSession, Ticket

TICKET_LIFETIME = timedelta(seconds=30)

router = APIRouter(tags=["auth"])


class TicketOut(BaseModel):
    ticket: str
    expires_in: int


@router.post("/api/v1/auth/ticket", summary="A one-use ticket for WebSocket and EventSource, as ?ticket=")
async def create_ticket(me: Viewer, session: Writing) -> TicketOut:
    await live_standing(session, me.user_id, me.session_id, me.group_id)
    secret = new_secret()
    ends = await database_time(session) + TICKET_LIFETIME
    session.add(Ticket(digest=digest_of(secret), session_id=me.session_id, group_id=me.group_id, expires_at=ends))
    return TicketOut(ticket=secret, expires_in=int(TICKET_LIFETIME.total_seconds()))


@router.post("/internal/exchange", include_in_schema=False)
async def exchange(body: ExchangeIn, me: FromService, shared: Shared) -> ExchangeOut:
    if body.ticket is not None:
        return await _for_ticket(shared, body.ticket, body.group_id)
    user = await shared.host.verifier.verify(body.token or "")
    if user.service is not None:
        raise UnauthenticatedError("a service token cannot be exchanged")
    async with shared.database.tenant(me) as session:
        return await _token(session, shared, user.user_id, user.session_id, body.group_id or user.group_id)


async def _for_ticket(shared: Resources, secret: str, group_id: str | None) -> ExchangeOut:
    """Raises UnauthenticatedError for a ticket that is unknown, used or older than 30 s."""
    spend = delete(Ticket).where(Ticket.digest == digest_of(secret), Ticket.expires_at > db_now())
    async with shared.database.system() as session:
        spent = (await session.execute(spend.returning(Ticket.session_id, Ticket.group_id))).one_or_none()
        if spent is None:
            raise UnauthenticatedError("the ticket is not valid; take a new one")
        user_id = await session.scalar(select(LoginSession.user_id).where(LoginSession.id == spent.session_id))
        return await _token(session, shared, user_id or "", spent.session_id, group_id or spent.group_id)


async def _token(session: AsyncSession, shared: Resources, user_id: str, session_id: str, group_id: str) -> ExchangeOut:
    issued = await shared.tokens.for_user(session, user_id, session_id, group_id)
    lifetime = int(issued.lifetime.total_seconds())
    return ExchangeOut(access_token=issued.token, expires_in=lifetime, group_id=issued.group_id, role=issued.role)


async def forget_tickets(session: AsyncSession) -> None:
    await session.execute(delete(Ticket).where(Ticket.expires_at < db_now()))
