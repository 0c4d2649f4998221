"""A server that answers as the gateway does, on a real port, in a thread of its own."""

import json
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from kasal_client import Kasal
from kasal_contracts.events import Event

Answer = Callable[[BaseHTTPRequestHandler], None]


def event(type_: str, id_: int | None, text: str = "") -> Event:
    return Event(id=id_, execution_id="x1", attempt=1, ts=datetime.now(UTC), type=type_, data={"text": text})


def frame(happened: Event) -> bytes:
    head = "" if happened.id is None else f"id: {happened.id}\n"
    return f"{head}event: {happened.type}\ndata: {happened.model_dump_json()}\n\n".encode()


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: str


@dataclass
class Server:
    """`answers` maps `METHOD path` to answers, the last of which is given again and again."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def will(self, call: str, *answers: Answer) -> None:
        self.answers[call] = list(answers)

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length", 0))
        body = handler.rfile.read(length).decode()
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.requests.append(Request(handler.command, handler.path, headers, body))
        answers = self.answers[f"{handler.command} {handler.path.partition('?')[0]}"]
        (answers.pop(0) if len(answers) > 1 else answers[0])(handler)


def replies(body: object, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        content = json.dumps(body).encode()
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def streams(*frames: bytes) -> Answer:
    """Sends `frames` and breaks the connection off."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream; charset=utf-8")
        handler.end_headers()
        for each in frames:
            handler.wfile.write(each)
        handler.close_connection = True

    return answer


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


@pytest.fixture
def server() -> Generator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            server.handle(self)

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        server.url = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        listening.shutdown()
        thread.join()


@pytest.fixture
def kasal(server: Server) -> Generator[Kasal]:
    with Kasal(server.url, token="first") as kasal:
        yield kasal
