"""Saved crews."""

from kasal_contracts.crew import CrewDocument
from kasal_contracts.pages import Page
from kasal_contracts.wire import JsonObject

from .schemas import Crew, Verdict
from .transport import Transport


class Crews:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[Crew]:
        return self._transport.call("GET", "/crews", Page[Crew], params={"limit": limit, "cursor": cursor})

    def get(self, crew_id: str) -> Crew:
        return self._transport.call("GET", f"/crews/{crew_id}", Crew)

    def create(self, document: CrewDocument | JsonObject) -> Crew:
        """Raises KasalApiError with 422 and every problem, when the crew is not valid."""
        return self._transport.call("POST", "/crews", Crew, body=document)

    def update(self, crew_id: str, document: CrewDocument | JsonObject, *, if_match: str = "") -> Crew:
        """Raises KasalApiError with 412 when `if_match` is given and no longer the crew's etag."""
        headers = {"If-Match": if_match} if if_match else {}
        return self._transport.call("PUT", f"/crews/{crew_id}", Crew, body=document, headers=headers)

    def delete(self, crew_id: str) -> None:
        self._transport.send("DELETE", f"/crews/{crew_id}")

    def validate(self, document: CrewDocument | JsonObject) -> Verdict:
        return self._transport.call("POST", "/crews/validate", Verdict, body=document)
