"""The one writer of what workers report: events, what they mean, and how an attempt ended."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from kasal_bus import Batch, RetryLater
from kasal_contracts.errors import KasalError
from kasal_contracts.events import Event, EventType, NumberedEvent
from kasal_contracts.executions import ErrorCode, Status, Usage
from kasal_contracts.messages import AttemptEvents, AttemptOutcome
from kasal_db import Database
from kasal_db.database import DatabaseUnavailableError
from sqlalchemy import select
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from kasal_executor.tables import EarlyEvents, Execution

from .announcements import Announcer
from .changes import Change
from .log_lines import project_log_lines
from .padding import padded
from .spans import project_spans
from .storage import drop_early, keep_early, locked, save
from .texts import storable, storable_json

BATCH = 256
PAUSE = timedelta(seconds=1)

log = structlog.get_logger(__name__)


@dataclass
class Intake:
    """What has arrived of one attempt and is not in the log yet."""

    change: Change
    waiting: dict[int, NumberedEvent] = field(default_factory=dict)
    outcome: AttemptOutcome | None = None

    def add(self, message: AttemptEvents) -> None:
        for event in message.events:
            if event.seq > self.change.row.last_seq:
                self.waiting.setdefault(event.seq, event)
        self.outcome = message.outcome or self.outcome

    def log_what_follows(self) -> None:
        """Take up events as long as none is missing; once the last one is there, the attempt has ended."""
        row = self.change.row
        ready: list[NumberedEvent] = []
        while (event := self.waiting.pop(row.last_seq + 1, None)) is not None:
            ready.append(storable(event))
            row.last_seq = event.seq
        self.change.log(ready)
        row.usage = usage_after(Usage.model_validate(row.usage), ready).model_dump()
        if self.outcome is not None and row.last_seq >= self.outcome.last_seq:
            end(self.change, self.outcome)
            self.waiting.clear()
            self.outcome = None


@dataclass
class Round:
    """What several shards brought while the transaction before was written: the next one takes all of it."""

    messages: list[AttemptEvents] = field(default_factory=list)
    is_written: bool = False


class Recorder:
    """The handler of every shard of events. A database that is away makes it wait, and loses nothing."""

    def __init__(self, database: Database, announcer: Announcer) -> None:
        self._database = database
        self._announcer = announcer
        self._writing = asyncio.Lock()
        self._open = Round()

    async def record(self, batch: Batch) -> None:
        """Raises RetryLater while the database cannot take the batch."""
        mine = [message for message in batch if isinstance(message, AttemptEvents)]
        joined = self._open
        joined.messages += mine
        async with self._writing:
            if joined is self._open:
                self._open = Round()
                # Whatever spoils the round is told to the shard that brought it, when each writes its own.
                with suppress(SQLAlchemyError, KasalError, ValueError, TypeError, ArithmeticError):
                    await self._write(joined.messages)
                    joined.is_written = True
            if not joined.is_written:
                await self._write(mine)

    async def _write(self, messages: Collection[AttemptEvents]) -> None:
        try:
            async with self._database.system() as session:
                changes = await record(session, messages)
        except (DatabaseUnavailableError, ProgrammingError) as error:
            # A statement that the database does not understand meets tables that are not migrated yet.
            raise RetryLater(PAUSE) from error
        await self._announcer.announce(changes)


async def record(session: AsyncSession, messages: Collection[AttemptEvents]) -> list[Change]:
    """One batch in one transaction; the answer is to be announced after the commit."""
    ids = {message.execution_id for message in messages}
    intakes = {change.row.id: Intake(change) for change in await locked(session, Execution.id.in_(padded(ids)))}
    late = [intake for intake in intakes.values() if intake.change.has_early]
    for message in [*messages, *await _early(session, late)]:
        _sort_in(intakes, message)
    for intake in intakes.values():
        intake.log_what_follows()
    changes = [intake.change for intake in intakes.values() if intake.change.entries]
    await project_spans(session, changes)
    await project_log_lines(session, changes)
    await save(session, changes)
    await _keep_rest(session, intakes.values())
    return changes


def _sort_in(intakes: Mapping[str, Intake], message: AttemptEvents) -> None:
    intake = intakes.get(message.execution_id)
    row = intake.change.row if intake else None
    if intake is None or row is None or row.status != Status.RUNNING or row.attempt != message.attempt:
        log.info(
            "stale_events_dropped",
            execution_id=message.execution_id,
            attempt=message.attempt,
            current_attempt=row.attempt if row else None,
            status=row.status if row else None,
        )
        return
    intake.add(message)


def end(change: Change, outcome: AttemptOutcome) -> None:
    error = outcome.child.error
    status = outcome.status
    if change.row.cancel_asked_at is not None and error is not None and error.code == ErrorCode.CANCELLED:
        status = Status.CANCELLED
    change.end(status, error=error, result=outcome.child.result, resources=outcome.resources)


def usage_after(usage: Usage, events: Iterable[Event | NumberedEvent]) -> Usage:
    """Adds what models were paid for; a replayed answer was paid for before."""
    for event in events:
        if event.type == EventType.LLM_COMPLETED and event.data.get("replayed") is not True:
            usage = Usage(
                llm_calls=usage.llm_calls + 1,
                input_tokens=usage.input_tokens + int(_number(event, "input_tokens") or 0),
                output_tokens=usage.output_tokens + int(_number(event, "output_tokens") or 0),
                cost_usd=_sum(usage.cost_usd, _number(event, "cost_usd")),
            )
    return usage


def _number(event: Event | NumberedEvent, key: str) -> float | None:
    value = event.data.get(key)
    return value if isinstance(value, int | float) else None


def _sum(one: float | None, other: float | None) -> float | None:
    return one if other is None else (one or 0) + other


async def _early(session: AsyncSession, late: Collection[Intake]) -> list[AttemptEvents]:
    if not late:
        return []
    ids = [intake.change.row.id for intake in late]
    kept = await session.scalars(select(EarlyEvents.message).where(EarlyEvents.execution_id.in_(ids)))
    messages = [AttemptEvents.model_validate(message) for message in kept]
    await drop_early(session, [intake.change for intake in late])
    return messages


async def _keep_rest(session: AsyncSession, intakes: Iterable[Intake]) -> None:
    """What came before its turn waits in the database, where the next batch finds it."""
    rows = [_rest(intake) for intake in intakes if intake.waiting or intake.outcome]
    if rows:
        await keep_early(session, rows)


def _rest(intake: Intake) -> dict[str, object]:
    row = intake.change.row
    events = [intake.waiting[seq] for seq in sorted(intake.waiting)]
    rest = AttemptEvents(execution_id=row.id, attempt=row.attempt, events=events, outcome=intake.outcome)
    return {
        "execution_id": row.id,
        "attempt": row.attempt,
        "first_seq": events[0].seq if events else row.last_seq + 1,
        "message": storable_json(rest),
    }
