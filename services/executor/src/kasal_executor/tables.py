"""Tables of the executor. Control plane and workers share them; tenants reach them through `owned()` alone."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from kasal_contracts.executions import Priority, Status
from kasal_contracts.ids import new_id
from kasal_db import Base, Json, Owned, db_now
from sqlalchemy import Enum, ForeignKey, Index, MetaData, String, Table, Text, text
from sqlalchemy.orm import Mapped, mapped_column

WAITS_FOR_A_WORKER = text("status in ('queued', 'retrying')")
IS_RUNNING = text("status = 'running'")


class ExecutorTable(Base):
    __abstract__ = True
    metadata = MetaData()

    @classmethod
    def as_table(cls) -> Table:
        """For statements that write many rows at once, past the unit of work."""
        return cls.metadata.tables[cls.__tablename__]


def _words(kind: type[StrEnum], length: int) -> Enum:
    """Text in the database, so that a new word needs no migration."""
    return Enum(kind, native_enum=False, length=length, values_callable=lambda words: [word.value for word in words])


class Execution(Owned, ExecutorTable):
    """One order to run a crew, from `queued` to its end state.

    `last_event_id` counts the events in the log; `last_seq` is the newest stored event of the current attempt.
    `lease_until` and `worker_id` say who runs it; every write of a worker is fenced by `(id, attempt, worker_id)`.
    """

    __tablename__ = "execution_history"

    id: Mapped[str] = mapped_column("execution_id", String(64), primary_key=True, default=new_id)
    crew_id: Mapped[str | None] = mapped_column(String(64), index=True)
    version: Mapped[int | None]
    name: Mapped[str] = mapped_column(String(200))
    status: Mapped[Status] = mapped_column(_words(Status, 16), default=Status.QUEUED)
    priority: Mapped[Priority] = mapped_column(_words(Priority, 8), default=Priority.NORMAL)
    attempt: Mapped[int] = mapped_column(default=1)
    inputs: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    limits: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    labels: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    snapshot: Mapped[dict[str, Any]] = mapped_column(Json, deferred=True)
    result: Mapped[dict[str, Any] | None] = mapped_column(Json)
    error: Mapped[dict[str, Any] | None] = mapped_column(Json)
    usage: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    resource_usage: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    parent_id: Mapped[str | None] = mapped_column(String(64))
    trace_id: Mapped[str] = mapped_column(String(32))
    traceparent: Mapped[str | None] = mapped_column(String(64))

    queued_at: Mapped[datetime] = mapped_column(default=db_now())
    queue_reason: Mapped[str | None] = mapped_column(String(200))
    available_at: Mapped[datetime] = mapped_column(default=db_now())
    published_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None] = mapped_column("start_time")
    ended_at: Mapped[datetime | None] = mapped_column("end_time")
    cancel_asked_at: Mapped[datetime | None]

    worker_id: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None]
    lost_leases: Mapped[int] = mapped_column(default=0)
    last_event_id: Mapped[int] = mapped_column(default=0)
    last_seq: Mapped[int] = mapped_column(default=0)

    __table_args__ = (
        Index("ix_execution_due", "available_at", postgresql_where=WAITS_FOR_A_WORKER, sqlite_where=WAITS_FOR_A_WORKER),
        Index("ix_execution_leased", "lease_until", postgresql_where=IS_RUNNING, sqlite_where=IS_RUNNING),
        Index("ix_execution_group_newest", "group_id", "execution_id"),
    )


class ExecutionEvent(ExecutorTable):
    """The event log. `id` counts from 1 in each execution; `seq` is the worker's number inside the attempt."""

    __tablename__ = "execution_events"

    execution_id: Mapped[str] = mapped_column(
        ForeignKey("execution_history.execution_id", ondelete="CASCADE"), primary_key=True
    )
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    attempt: Mapped[int]
    seq: Mapped[int | None]
    ts: Mapped[datetime]
    type: Mapped[str] = mapped_column(String(64))
    task: Mapped[str | None] = mapped_column(String(64))
    agent: Mapped[str | None] = mapped_column(String(64))
    span_id: Mapped[str | None] = mapped_column(String(16))
    parent_span_id: Mapped[str | None] = mapped_column(String(16))
    data: Mapped[dict[str, Any]] = mapped_column(Json)


class EarlyEvents(ExecutorTable):
    """Batches that arrived before an earlier one; the recorder takes them up when the gap is closed."""

    __tablename__ = "execution_early_events"

    execution_id: Mapped[str] = mapped_column(
        ForeignKey("execution_history.execution_id", ondelete="CASCADE"), primary_key=True
    )
    attempt: Mapped[int] = mapped_column(primary_key=True)
    first_seq: Mapped[int] = mapped_column(primary_key=True)
    message: Mapped[dict[str, Any]] = mapped_column(Json)


class Span(Owned, ExecutorTable):
    """One operation in the trace of an execution. `id` is `<execution_id>-<span_id>`, `duration` is in milliseconds."""

    __tablename__ = "execution_trace"

    execution_id: Mapped[str] = mapped_column(
        ForeignKey("execution_history.execution_id", ondelete="CASCADE"), index=True
    )
    trace_id: Mapped[str] = mapped_column(String(32))
    span_id: Mapped[str] = mapped_column(String(16))
    parent_span_id: Mapped[str | None] = mapped_column(String(16))
    operation: Mapped[str] = mapped_column(String(200))
    start: Mapped[datetime]
    duration: Mapped[float | None]
    status: Mapped[str] = mapped_column(String(16))
    details: Mapped[dict[str, Any]] = mapped_column("metadata", Json, default=dict)


class LogLine(Owned, ExecutorTable):
    """What an execution had to say, for people. `id` is `<execution_id>-<ten digits of the event's id>`."""

    __tablename__ = "execution_logs"

    execution_id: Mapped[str] = mapped_column(
        ForeignKey("execution_history.execution_id", ondelete="CASCADE"), index=True
    )
    timestamp: Mapped[datetime]
    level: Mapped[str] = mapped_column(String(16))
    message: Mapped[str] = mapped_column(Text)
    context: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)


class IdempotencyKey(Owned, ExecutorTable):
    """Answers a repeated `POST /execution` with the first one's execution. `id` is a hash of caller and key."""

    __tablename__ = "idempotency_keys"

    body_hash: Mapped[str] = mapped_column(String(64))
    execution_id: Mapped[str] = mapped_column(String(64))


class Worker(ExecutorTable):
    """A worker, by its heartbeat. `running` is what it says; the dispatcher counts its claims itself."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    host: Mapped[str] = mapped_column(String(200))
    pid: Mapped[int]
    slots: Mapped[int]
    running: Mapped[int] = mapped_column(default=0)
    draining: Mapped[bool] = mapped_column(default=False)
    started_at: Mapped[datetime] = mapped_column(default=db_now())
    beat_at: Mapped[datetime] = mapped_column(default=db_now())


class Leader(ExecutorTable):
    """One row: which control plane dispatches and reaps, until when."""

    __tablename__ = "leader"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    holder: Mapped[str] = mapped_column(String(64))
    until: Mapped[datetime]
