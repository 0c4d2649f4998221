"""HTTP with tokens: problems become errors, and an access token that ended is renewed once per call."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import httpx
from kasal_contracts.problems import Problem
from pydantic import BaseModel, JsonValue, ValidationError

from .errors import KasalApiError, KasalUnreachableError
from .schemas import Session

Answer = TypeVar("Answer", bound=BaseModel)
Keep = Callable[[Session], None]
Renew = Callable[[], str]
Params = Mapping[str, str | int | float | list[str] | None]
UNAUTHENTICATED = 401


class Transport:
    """`on_refresh` is told every new pair of tokens, so that it can be kept for the next process.

    `renew` gives a new access token instead, where several processes share one session.
    """

    def __init__(
        self,
        http: httpx.Client,
        token: str,
        refresh_token: str,
        on_refresh: Keep | None = None,
        renew: Renew | None = None,
    ) -> None:
        self._http = http
        self._token = token
        self._refresh_token = refresh_token
        self._on_refresh = on_refresh
        self._renew = renew

    def close(self) -> None:
        self._http.close()

    def use(self, session: Session) -> None:
        self._token, self._refresh_token = session.access_token, session.refresh_token

    def call(
        self,
        method: str,
        path: str,
        answer: type[Answer],
        *,
        body: BaseModel | JsonValue = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Raises KasalApiError or KasalUnreachableError."""
        response = self.send(method, path, body=body, params=params, headers=headers)
        etag = response.headers.get("etag")
        read = answer.model_validate_json(response.content)
        return read.model_copy(update={"etag": etag}) if etag and "etag" in answer.model_fields else read

    def send(
        self,
        method: str,
        path: str,
        *,
        body: BaseModel | JsonValue = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        with self.open(method, path, body=body, params=params, headers=headers) as response:
            response.read()
            return response

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        body: BaseModel | JsonValue = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        read_timeout: float | None = None,
    ) -> Generator[httpx.Response]:
        """An answer whose body is still to be read. `read_timeout` is in seconds."""
        request = self._http.build_request(
            method,
            f"/api/v1{path}",
            json=body.model_dump(mode="json") if isinstance(body, BaseModel) else body,
            params={name: value for name, value in (params or {}).items() if value is not None},
            headers=headers,
        )
        if read_timeout is not None:
            request.extensions["timeout"]["read"] = read_timeout
        try:
            response = self._sent(request)
            try:
                yield response
            finally:
                response.close()
        except httpx.TransportError as error:
            raise KasalUnreachableError(f"{self._http.base_url} does not answer: {error}") from error

    def _sent(self, request: httpx.Request) -> httpx.Response:
        response = self._sent_with_token(request)
        if response.status_code == UNAUTHENTICATED and (self._renew or self._refresh_token):
            response.close()
            self._take_new_token()
            response = self._sent_with_token(request)
        if response.status_code >= 400:
            response.read()
            response.close()
            raise KasalApiError(_problem(response))
        return response

    def _sent_with_token(self, request: httpx.Request) -> httpx.Response:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return self._http.send(request, stream=True)

    def _take_new_token(self) -> None:
        if self._renew is not None:
            self._token = self._renew()
        else:
            self.refresh()

    def refresh(self) -> Session:
        """Raises KasalApiError with 401 when the session is over."""
        response = self._http.post("/api/v1/auth/refresh", json={"refresh_token": self._refresh_token})
        if response.status_code >= 400:
            # A refresh token works once; trying this one again would look like theft.
            self._refresh_token = ""
            raise KasalApiError(_problem(response))
        session = Session.model_validate_json(response.content)
        self.use(session)
        if self._on_refresh is not None:
            self._on_refresh(session)
        return session


def _problem(response: httpx.Response) -> Problem:
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        return Problem(title=response.reason_phrase or "Refused", status=response.status_code)
