"""A control plane on a real database and a real bus, with a stand-in for the services and workers around it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI, Request
from kasal_bus import Bus, Feed
from kasal_bus.topology import LIVE, SIGNALS, Topic, event_queue
from kasal_contracts.crew import AgentSpec, CrewDocument, InputSpec, TaskSpec
from kasal_contracts.errors import InvalidError, KasalError, NotFoundError
from kasal_contracts.events import Event, NumberedEvent
from kasal_contracts.executions import ChildOutcome, ExecutionError, ResourceUsage, Result, Snapshot, Status
from kasal_contracts.identity import Role
from kasal_contracts.ids import new_id
from kasal_contracts.messages import AttemptEvents, AttemptOutcome, LiveEvents, Message
from kasal_contracts.models import Price, Provider, ResolvedModel
from kasal_db import Database, db_now
from kasal_executor.service import SERVICE
from kasal_executor.settings import ControlSettings
from kasal_executor.tables import Execution, Worker
from kasal_runtime.hosting import open_host
from kasal_runtime.problems import refusal_response
from kasal_testing.issuer import Issuer
from pydantic import BaseModel, JsonValue
from sqlalchemy import update

LIMIT = timedelta(seconds=10)
CREW = CrewDocument(
    name="Two steps",
    agents=[AgentSpec(key="writer", role="Writer", goal="Write")],
    tasks=[
        TaskSpec(key="first", description="Write about {topic}", expected_output="Text", agent="writer"),
        TaskSpec(key="second", description="Shorten it", expected_output="Text", agent="writer"),
    ],
    inputs={"topic": InputSpec(), "tone": InputSpec(default="dry")},
)
PRICED = ResolvedModel(
    alias="demo/scripted",
    provider=Provider.DEMO,
    model="scripted",
    price=Price(input_per_mtok=1, output_per_mtok=2),
)


class SnapshotOrder(BaseModel):
    crew_id: str | None = None
    version: int | None = None
    crew: dict[str, JsonValue] | None = None


@dataclass
class Crews:
    """Answers for the crews service: `saved` is known, an inline crew without tasks is not valid."""

    priced: bool = True
    tokens: list[str] = field(default_factory=list)

    def forget(self) -> None:
        self.priced = True
        self.tokens.clear()

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.exception_handler(KasalError)
        async def refused(request: Request, error: KasalError) -> Any:
            return refusal_response(error, request.url.path)

        @app.post("/internal/snapshots")
        async def snapshots(order: SnapshotOrder, request: Request) -> Snapshot:
            self.tokens.append(request.headers["authorization"].removeprefix("Bearer "))
            if order.crew is not None:
                return self._snapshot(_document(order.crew))
            if order.crew_id != "saved":
                raise NotFoundError("crew", str(order.crew_id))
            return self._snapshot(CREW, crew_id="saved", version=order.version or 3)

        return app

    def _snapshot(self, crew: CrewDocument, crew_id: str | None = None, version: int | None = None) -> Snapshot:
        model = PRICED if self.priced else PRICED.model_copy(update={"price": None})
        return Snapshot(crew_id=crew_id, version=version, crew=crew, models=[model], default_model=model.alias)


def _document(crew: dict[str, JsonValue]) -> CrewDocument:
    if not crew.get("tasks"):
        raise InvalidError("the crew has no task")
    return CrewDocument.model_validate(crew)


class Ear:
    """Hears one key of a topic, and waits for what a test expects to be told."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.heard: list[Message] = []

    @property
    def events(self) -> list[Event]:
        return [event for message in self.heard if isinstance(message, LiveEvents) for event in message.events]

    async def message(self) -> Message:
        letter = await self._feed.next(LIMIT)
        assert letter is not None, f"nothing came after {self.heard}"
        self.heard.append(letter[1])
        return letter[1]

    async def event(self, type_: str, *, count: int = 1) -> Event:
        """The `count`th event of `type_` since this ear listens."""
        while len(found := [event for event in self.events if event.type == type_]) < count:
            await self.message()
        return found[count - 1]


@dataclass
class Stage:
    settings: ControlSettings
    bus: Bus
    database: Database
    issuer: Issuer
    crews: Crews
    client: httpx.AsyncClient
    group: str = field(default_factory=new_id)

    def headers(self, role: Role = Role.OPERATOR, **claims: Any) -> dict[str, str]:
        token = self.issuer.token(**{"group": self.group, "role": role, **claims})
        return {"Authorization": f"Bearer {token}"}

    async def call(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, **claims: Any
    ) -> httpx.Response:
        sent = self.headers(**claims) | (headers or {})
        return await self.client.request(method, path, json=body, headers=sent)

    async def get(self, path: str) -> Any:
        answer = await self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def submit(self, **order: Any) -> str:
        answer = await self.call("POST", "/api/v1/execution", {"crew_id": "saved", "inputs": {"topic": "AI"}} | order)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def submitted_and_claimed(self, **order: Any) -> str:
        execution_id = await self.submit(**order)
        await self.claim(execution_id)
        return execution_id

    async def claim(
        self, execution_id: str, *, worker_id: str = "worker-1", lease: timedelta = timedelta(minutes=5)
    ) -> bool:
        """Take what is queued as a worker does."""
        claimed = (
            update(Execution)
            .where(Execution.id == execution_id, Execution.status.in_((Status.QUEUED, Status.RETRYING)))
            .values(status=Status.RUNNING, worker_id=worker_id, lease_until=db_now(lease), started_at=db_now())
            .returning(Execution.id)
            .execution_options(synchronize_session=False)
        )
        async with self.database.system() as session:
            return await session.scalar(claimed) is not None

    async def add_worker(self, slots: int, *, draining: bool = False, worker_id: str = "worker-1") -> None:
        async with self.database.system() as session:
            session.add(Worker(id=worker_id, host="here", pid=1, slots=slots, draining=draining))

    async def report(
        self,
        execution_id: str,
        events: Sequence[NumberedEvent] = (),
        *,
        attempt: int = 1,
        outcome: AttemptOutcome | None = None,
    ) -> None:
        message = AttemptEvents(execution_id=execution_id, attempt=attempt, events=list(events), outcome=outcome)
        await self.bus.send(event_queue(execution_id), message)

    async def row(self, execution_id: str) -> Execution:
        async with self.database.system(read_only=True) as session:
            found = await session.get(Execution, execution_id)
            assert found is not None
            return found

    def watching(self, key: str) -> Any:
        return hearing(self.bus, LIVE, key)

    def signals(self, key: str) -> Any:
        return hearing(self.bus, SIGNALS, key)


@asynccontextmanager
async def hearing(bus: Bus, topic: Topic, key: str) -> AsyncGenerator[Ear]:
    async with bus.listen(topic) as feed:
        await feed.bind(key)
        yield Ear(feed)


def events(*types: str, first: int = 1, **data: JsonValue) -> list[NumberedEvent]:
    """Numbered events of these types, all with the same `data`."""
    return [event(seq, type_, **data) for seq, type_ in enumerate(types, start=first)]


def event(
    seq: int, type_: str, *, task: str | None = None, span: str | None = None, **data: JsonValue
) -> NumberedEvent:
    return NumberedEvent(seq=seq, ts=datetime.now(UTC), type=type_, task=task, span_id=span, data=data)


def succeeded(last_seq: int, text: str = "done") -> AttemptOutcome:
    child = ChildOutcome(result=Result(text=text))
    resources = ResourceUsage(wall_s=1.5, cpu_s=0.5, max_rss_mb=30)
    return AttemptOutcome(status=Status.SUCCEEDED, last_seq=last_seq, child=child, resources=resources)


def ended(status: Status, last_seq: int, code: str) -> AttemptOutcome:
    child = ChildOutcome(error=ExecutionError(code=code, message=f"it ended with {code}"))
    return AttemptOutcome(status=status, last_seq=last_seq, child=child)


@asynccontextmanager
async def open_control_plane(settings: ControlSettings, bus: Bus) -> AsyncGenerator[httpx.AsyncClient]:
    async with open_host("executor", settings, bus) as host, SERVICE.open(settings, host) as app:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://executor", timeout=20) as client:
            yield client
