from collections.abc import Mapping

import pytest
from kasal_tools import HttpResponse, ToolContext, ToolError
from kasal_tools.http_request import (
    HttpRequest,
    HttpRequestArguments,
    HttpRequestConfig,
)


class RecordingHttp:
    """Answers every request alike and remembers it."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []

    def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 30,
    ) -> HttpResponse:
        self.requests.append((method, url))
        return HttpResponse(200, {}, b"hello")


def test_it_answers_with_status_and_text() -> None:
    http = RecordingHttp()
    answer = HttpRequest().run(
        HttpRequestArguments(url="https://example.com/"),
        ToolContext(HttpRequestConfig(), http),
    )
    assert answer == "HTTP 200\n\nhello"
    assert http.requests == [("GET", "https://example.com/")]


@pytest.mark.parametrize(
    "arguments",
    [
        HttpRequestArguments(url="https://example.com/", method="DELETE"),
        HttpRequestArguments(url="https://elsewhere.example/"),
    ],
)
def test_what_the_configuration_does_not_allow_is_never_sent(
    arguments: HttpRequestArguments,
) -> None:
    http = RecordingHttp()
    with pytest.raises(ToolError):
        HttpRequest().run(arguments, ToolContext(HttpRequestConfig(hosts=["example.com"]), http))
    assert http.requests == []


def test_its_effect_follows_from_the_methods_that_are_allowed() -> None:
    assert HttpRequest.effect_of(HttpRequestConfig()) == "idempotent"
    assert HttpRequest.effect_of(HttpRequestConfig(methods=["GET", "POST"])) == "effectful"
