"""Taking an order: its snapshot from the crews service, then execution and first event in one transaction."""

import hashlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kasal_contracts.errors import ConflictError, InvalidError
from kasal_contracts.events import ChildEvent, EventType
from kasal_contracts.executions import Limits, Priority, Snapshot, Status, Usage
from kasal_contracts.identity import Caller
from kasal_contracts.ids import new_id
from kasal_contracts.problems import FieldError
from kasal_contracts.wire import JsonObject
from kasal_db import Database, db_now, owned
from kasal_runtime.context import traceparent
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from kasal_executor import event_log
from kasal_executor.tables import Execution, IdempotencyKey

from .control import Control
from .texts import is_storable
from .views import ExecutionIn

KEY_LIFE = timedelta(hours=24)


@dataclass(frozen=True)
class Order:
    """An execution about to be, with everything resolved."""

    snapshot: Snapshot
    inputs: JsonObject
    name: str
    priority: Priority
    limits: Limits
    labels: dict[str, str]
    parent_id: str | None = None


@dataclass(frozen=True)
class Ticket:
    """An idempotency key with what it was used for. `id` tells callers apart, so that keys of two never meet."""

    id: str
    body_hash: str

    @classmethod
    def of(cls, me: Caller, key: str, order: ExecutionIn) -> "Ticket":
        body = json.dumps(order.model_dump(mode="json"), sort_keys=True)
        return cls(_hash(json.dumps([me.group_id, me.user_id, key])), _hash(body))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def submit(control: Control, me: Caller, token: str, order: ExecutionIn, key: str | None) -> Execution:
    """The stored execution; with a known `key` the one that it stands for.

    Raises ConflictError for a key that was used for something else, InvalidError, and what the crews service says.
    """
    ticket = Ticket.of(me, key, order) if key else None
    if ticket and (known := await _known(control.database, me, ticket)):
        return known
    snapshot = await control.crews.call("POST", "/internal/snapshots", Snapshot, token=token, body=_wanted(order))
    resolved = Order(
        snapshot=snapshot,
        inputs=order.inputs,
        name=order.name or snapshot.crew.name,
        priority=order.priority,
        limits=snapshot.maxima.capped(order.limits),
        labels=order.labels,
    )
    check(resolved)
    try:
        return await place(control, me, resolved, ticket)
    except IntegrityError:
        # The same key at the same moment: the other request was first, and its execution is the answer.
        if ticket and (known := await _known(control.database, me, ticket)):
            return known
        raise


async def place(control: Control, me: Caller, order: Order, ticket: Ticket | None = None) -> Execution:
    """Store the execution with its first event; announce it once that is durable."""
    execution = _queued(me, order)
    entries = event_log.numbered(execution.id, execution.attempt, [_first_event(execution)], after=0)
    async with control.database.tenant(me) as session:
        if ticket:
            await _use(session, me, ticket, execution.id)
        session.add(execution)
        await session.flush()
        await event_log.store(session, entries)
    await control.announcer.submitted(execution, [event for event, _ in entries])
    return execution


def check(order: Order) -> None:
    """Raises InvalidError for missing inputs, text that cannot be stored, and a cost limit nobody can watch."""
    errors = [*_missing_inputs(order), *_unstorable(order), *_unpriced(order)]
    if errors:
        raise InvalidError("; ".join(error.msg for error in errors[:3]), errors=errors)


def _missing_inputs(order: Order) -> Iterator[FieldError]:
    for name, spec in order.snapshot.crew.inputs.items():
        if spec.default is None and name not in order.inputs:
            yield FieldError(loc=["body", "inputs", name], msg=f"the crew needs the input {name!r}")


def _unstorable(order: Order) -> Iterator[FieldError]:
    snapshot = order.snapshot.model_dump(mode="json")
    parts = {"name": order.name, "inputs": order.inputs, "labels": order.labels, "crew": snapshot}
    for part, value in parts.items():
        if not is_storable(value):
            words = "text may not hold NUL or broken Unicode, and numbers must be finite"
            yield FieldError(loc=["body", part], msg=f"{part}: {words}")


def _unpriced(order: Order) -> Iterator[FieldError]:
    if order.limits.max_cost_usd is None:
        return
    for model in order.snapshot.models:
        if model.price is None:
            words = f"the model {model.alias!r} has no price, so its cost cannot be limited"
            yield FieldError(loc=["body", "limits", "max_cost_usd"], msg=words)


def _wanted(order: ExecutionIn) -> JsonObject:
    if order.crew is not None:
        return {"crew": order.crew}
    return {"crew_id": order.crew_id, "version": order.version}


async def _known(database: Database, me: Caller, ticket: Ticket) -> Execution | None:
    """Raises ConflictError when the key stands for another order."""
    async with database.tenant(me, read_only=True) as session:
        row = await session.scalar(
            owned(IdempotencyKey, me).where(
                IdempotencyKey.id == ticket.id, IdempotencyKey.created_at > db_now(-KEY_LIFE)
            )
        )
        if row is None:
            return None
        if row.body_hash != ticket.body_hash:
            raise ConflictError("this Idempotency-Key was used with another body")
        return await session.scalar(owned(Execution, me).where(Execution.id == row.execution_id))


async def _use(session: AsyncSession, me: Caller, ticket: Ticket, execution_id: str) -> None:
    """Raises IntegrityError when another request has just used the key."""
    await session.execute(
        delete(IdempotencyKey).where(IdempotencyKey.id == ticket.id, IdempotencyKey.created_at <= db_now(-KEY_LIFE))
    )
    session.add(
        IdempotencyKey(
            id=ticket.id,
            group_id=me.group_id,
            created_by=me.user_id,
            body_hash=ticket.body_hash,
            execution_id=execution_id,
        )
    )


def _queued(me: Caller, order: Order) -> Execution:
    parent = traceparent.get()
    trace_id = parent.split("-")[1] if parent else secrets.token_hex(16)
    return Execution(
        id=new_id(),
        group_id=me.group_id,
        created_by=me.user_id,
        crew_id=order.snapshot.crew_id,
        version=order.snapshot.version,
        name=order.name,
        status=Status.QUEUED,
        priority=order.priority,
        attempt=1,
        inputs=order.inputs,
        limits=order.limits.model_dump(mode="json"),
        labels=order.labels,
        snapshot=order.snapshot.model_dump(mode="json"),
        usage=Usage().model_dump(),
        resource_usage={},
        parent_id=order.parent_id,
        trace_id=trace_id,
        traceparent=parent or f"00-{trace_id}-{secrets.token_hex(8)}-01",
        last_event_id=1,
    )


def _first_event(execution: Execution) -> ChildEvent:
    data: JsonObject = {"name": execution.name, "priority": execution.priority.value}
    return ChildEvent(ts=datetime.now(UTC), type=EventType.EXECUTION_QUEUED, data=data)
