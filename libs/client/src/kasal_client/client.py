"""One object for the whole API."""

from types import TracebackType
from typing import Self

import httpx
from kasal_contracts.wire import JsonObject

from .crews import Crews
from .executions import Executions
from .memory import Memory
from .models import ApiKeys, Models
from .schemas import Account, Session, Versions
from .transport import Keep, Renew, Transport


class Kasal:
    """Blocking, and for one thread. `group_id` picks the active group; without it the user's first is."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str = "",
        refresh_token: str = "",
        group_id: str | None = None,
        timeout_s: float = 60,
        on_refresh: Keep | None = None,
        renew: Renew | None = None,
    ) -> None:
        self.url = url
        headers = {} if group_id is None else {"X-Group-ID": group_id}
        http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s)
        self._transport = Transport(http, token, refresh_token, on_refresh, renew)
        self.crews = Crews(self._transport)
        self.executions = Executions(self._transport)
        self.models = Models(self._transport)
        self.api_keys = ApiKeys(self._transport)
        self.memory = Memory(self._transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def login(self, email: str, password: str) -> Session:
        """Raises KasalApiError with 401 for an unknown user and for a wrong password alike."""
        session = self._transport.call("POST", "/auth/login", Session, body={"email": email, "password": password})
        self._transport.use(session)
        return session

    def refresh(self) -> Session:
        """A new pair of tokens for the refresh token, which works once. Raises KasalApiError with 401."""
        return self._transport.refresh()

    def logout(self) -> None:
        """Ends the session everywhere."""
        self._transport.send("POST", "/auth/logout")
        self._transport.use(Session(access_token="", refresh_token="", expires_in=0))

    def me(self) -> Account:
        return self._transport.call("GET", "/auth/me", Account)

    def configure(self, changes: JsonObject) -> None:
        """Change settings of the active group, as `PATCH /config` takes them. Needs its admin."""
        self._transport.send("PATCH", "/config", body=changes)

    def version(self) -> Versions:
        return self._transport.call("GET", "/version", Versions)
