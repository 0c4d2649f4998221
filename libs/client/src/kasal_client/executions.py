"""Executions: order one, watch it, end it."""

import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager
from uuid import uuid4

import httpx
from httpx_sse import EventSource
from kasal_contracts.crew import CrewDocument
from kasal_contracts.events import Event
from kasal_contracts.executions import Limits, Priority, Status
from kasal_contracts.pages import Page
from kasal_contracts.wire import JsonObject
from pydantic import JsonValue

from .errors import KasalApiError, KasalUnreachableError
from .schemas import Execution
from .transport import Transport

PAGE = 200
NOTHING_FOLLOWS = 204
# The server sends something at least every 15 s; after twice that the connection is dead.
READ_TIMEOUT_S = 30.0
PASSING = frozenset({429, 500, 502, 503, 504})
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 1.0


class Executions:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def submit(
        self,
        crew: CrewDocument | JsonObject | None = None,
        *,
        crew_id: str | None = None,
        version: int | None = None,
        inputs: JsonObject | None = None,
        name: str | None = None,
        priority: Priority = Priority.NORMAL,
        limits: Limits | None = None,
        labels: dict[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Execution:
        """Runs a saved crew or the one given. The same `idempotency_key` answers with the first execution."""
        document = crew.model_dump(mode="json") if isinstance(crew, CrewDocument) else crew
        order: dict[str, JsonValue] = {
            "crew": document,
            "crew_id": crew_id,
            "version": version,
            "inputs": inputs or {},
            "name": name,
            "priority": priority.value,
            "limits": limits.model_dump(mode="json", exclude_unset=True) if limits else None,
            "labels": dict(labels or {}),
        }
        body: JsonObject = {name: value for name, value in order.items() if value is not None}
        headers = {"Idempotency-Key": idempotency_key or uuid4().hex}
        return self._transport.call("POST", "/execution", Execution, body=body, headers=headers)

    def get(self, execution_id: str) -> Execution:
        return self._transport.call("GET", f"/execution/{execution_id}", Execution)

    def list(
        self,
        *,
        status: Status | None = None,
        crew_id: str | None = None,
        label: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Execution]:
        """Newest first."""
        params = {"status": status, "crew_id": crew_id, "label": label, "limit": limit, "cursor": cursor}
        return self._transport.call("GET", "/execution", Page[Execution], params=params)

    def cancel(self, execution_id: str) -> None:
        """Returns when the wish is recorded; the execution ends a little later."""
        self._transport.send("POST", f"/execution/{execution_id}/cancel")

    def retry(self, execution_id: str) -> Execution:
        return self._transport.call("POST", f"/execution/{execution_id}/retry", Execution)

    def delete(self, execution_id: str) -> None:
        self._transport.send("DELETE", f"/execution/{execution_id}")

    def events(self, execution_id: str, *, after: int = 0) -> Generator[Event]:
        """The log as it is now, oldest first, page by page."""
        while True:
            params = {"after": after, "limit": PAGE}
            page = self._transport.call("GET", f"/execution/{execution_id}/events", Page[Event], params=params)
            for event in page.items:
                after = event.id or after
                yield event
            if len(page.items) < PAGE:
                return

    def stream(self, execution_id: str, *, after: int = 0, patience_s: float = 60) -> Generator[Event]:
        """Every event after `after`, once and in order, with live chunks between them; ends with the final event.

        A lost connection is taken up again where it broke. Raises KasalUnreachableError when nothing could be heard
        for `patience_s`, and KasalApiError for a refusal that will not pass.
        """
        pause, heard = FIRST_PAUSE_S, time.monotonic()
        while True:
            try:
                with self._opened_stream(execution_id, after) as response:
                    if response.status_code == NOTHING_FOLLOWS:
                        return
                    for event in _received(response):
                        pause, heard = FIRST_PAUSE_S, time.monotonic()
                        if event.id is None or event.id > after:
                            after = event.id or after
                            yield event
                        if event.is_end:
                            return
            except (KasalUnreachableError, KasalApiError) as error:
                if not _may_pass(error) or time.monotonic() - heard > patience_s:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    def wait(self, execution_id: str, *, within_s: float | None = None) -> Execution:
        """The execution once it has ended. Raises TimeoutError when it has not `within_s`."""
        started, pause = time.monotonic(), FIRST_WAIT_S
        while not (execution := self.get(execution_id)).status.is_end:
            if within_s is not None and time.monotonic() - started > within_s:
                raise TimeoutError(f"execution {execution_id} is still {execution.status} after {within_s:g} s")
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_WAIT_S)
        return execution

    def _opened_stream(self, execution_id: str, after: int) -> AbstractContextManager[httpx.Response]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        path = f"/execution/{execution_id}/stream"
        return self._transport.open("GET", path, headers=headers, read_timeout=READ_TIMEOUT_S)


def _received(response: httpx.Response) -> Iterator[Event]:
    # The parser makes an empty event of a comment.
    return (Event.model_validate_json(frame.data) for frame in EventSource(response).iter_sse() if frame.data)


def _may_pass(error: KasalUnreachableError | KasalApiError) -> bool:
    return not isinstance(error, KasalApiError) or error.status in PASSING
