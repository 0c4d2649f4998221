"""Language models of the group, and the keys of their providers."""

from datetime import datetime

from kasal_contracts.models import Provider
from kasal_contracts.pages import Page
from pydantic import JsonValue

from .schemas import ApiKey, Model
from .transport import Transport


class Models:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[Model]:
        return self._transport.call("GET", "/models", Page[Model], params={"limit": limit, "cursor": cursor})

    def get(self, model_id: str) -> Model:
        return self._transport.call("GET", f"/models/{model_id}", Model)

    def create(self, name: str, provider: Provider, model: str, **fields: JsonValue) -> Model:
        """`fields` are the optional ones of a model: `base_url`, `api_key_name`, `price` and so on."""
        body = {"name": name, "provider": provider.value, "model": model, **fields}
        return self._transport.call("POST", "/models", Model, body=body)

    def delete(self, model_id: str) -> None:
        self._transport.send("DELETE", f"/models/{model_id}")


class ApiKeys:
    """Values go in and never come out."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[ApiKey]:
        return self._transport.call("GET", "/api-keys", Page[ApiKey], params={"limit": limit, "cursor": cursor})

    def put(self, name: str, value: str, *, description: str = "", expires_at: datetime | None = None) -> ApiKey:
        ends = expires_at.isoformat() if expires_at else None
        body: JsonValue = {"value": value, "description": description, "expires_at": ends}
        return self._transport.call("PUT", f"/api-keys/{name}", ApiKey, body=body)

    def rotate(self, name: str, value: str) -> ApiKey:
        return self._transport.call("POST", f"/api-keys/{name}/rotate", ApiKey, body={"value": value})

    def delete(self, name: str) -> None:
        self._transport.send("DELETE", f"/api-keys/{name}")
