"""The egress broker: the one way out of a child, on a Unix socket, with a token for each attempt.

A child holds no key and opens no connection. It calls models (`/llm/{alias}/…`, in the provider's own protocol), the
memory of its crew (`/memory/…`) and HTTP for its tools (`/tools/http`); what it may reach follows from its snapshot.
"""

import secrets
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import structlog
from aiohttp import web
from kasal_contracts.errors import KasalError
from kasal_contracts.executions import ErrorCode
from kasal_egress import open_egress
from kasal_runtime.service import Host

from .broker_http import ToolHttp
from .broker_llm import ModelCalls
from .broker_memory import MemoryCalls
from .claims import Claim
from .credentials import Credentials
from .guests import Guest
from .local_model import open_local_model
from .refusals import BrokerRefusedError, refusal
from .settings import WorkerSettings

MAX_BODY_BYTES = 32 * 2**20
# The kernel's limit for a socket's path (unix(7)), with its final zero.
MAX_SOCKET_PATH = 107
# Where the clients of the three model protocols put a key.
TOKEN_HEADERS = ("Authorization", "x-api-key", "x-goog-api-key")

Call = Callable[[web.Request, Guest], Awaitable[web.StreamResponse]]

log = structlog.get_logger(__name__)


class SocketPathError(ValueError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is too long for a socket; set KASAL_WORKER_SOCKET_DIR to a shorter directory")


class Broker:
    """One for each worker. Made by `open_broker`."""

    def __init__(self, path: Path, host: Host) -> None:
        self.path = path
        self._host = host
        self._guests: dict[str, Guest] = {}

    @contextmanager
    def admitted(self, claim: Claim) -> Generator[str]:
        """The token of one attempt, good until the context closes."""
        token = secrets.token_urlsafe(32)
        self._guests[token] = Guest(claim, Credentials(self._host, claim.act))
        try:
            yield token
        finally:
            del self._guests[token]

    def for_guests(self, call: Call) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """`call` as a handler that knows its caller and answers refusals in the children's own shape."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await call(request, self._guest(request))
            except BrokerRefusedError as error:
                return refusal(error)
            except KasalError as error:
                return refusal(BrokerRefusedError(error.detail, code=ErrorCode.INTERNAL, status=error.status))
            except web.HTTPException:
                raise
            except Exception:  # the boundary of the broker: a bug must not leave a child without an answer
                log.exception("broker_failed", path=request.path)
                return refusal(
                    BrokerRefusedError("The worker failed to carry out a call.", code=ErrorCode.INTERNAL, status=500)
                )

        return handle

    def _guest(self, request: web.Request) -> Guest:
        for header in TOKEN_HEADERS:
            guest = self._guests.get(request.headers.get(header, "").removeprefix("Bearer "))
            if guest is not None:
                return guest
        raise BrokerRefusedError("This attempt is not running any more.", code=ErrorCode.INTERNAL, status=401)


@asynccontextmanager
async def open_broker(settings: WorkerSettings, host: Host) -> AsyncGenerator[Broker]:
    """Serves children until the context closes. Raises SocketPathError, or ValueError for a broken egress list."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kasal-", dir=settings.socket_dir))
        path = Path(folder) / "egress.sock"
        if len(str(path)) > MAX_SOCKET_PATH:
            raise SocketPathError(path)
        models = await stack.enter_async_context(open_egress(settings.model_policy))
        tools = await stack.enter_async_context(open_egress(settings.tool_policy))
        local_model = await stack.enter_async_context(open_local_model(settings))
        broker = Broker(path, host)
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post("/llm/{call:.+}", broker.for_guests(ModelCalls(models, local_model, settings).handle))
        app.router.add_post("/tools/http", broker.for_guests(ToolHttp(tools).handle))
        app.router.add_post("/memory/{what:search|records}", broker.for_guests(MemoryCalls(host).handle))
        await stack.enter_async_context(_served(app, path))
        yield broker


@asynccontextmanager
async def _served(app: web.Application, path: Path) -> AsyncGenerator[None]:
    # A call whose child has gone is given up, so that a cancelled execution does not go on paying for an answer.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(path)).start()
        path.chmod(0o600)
        yield
    finally:
        await runner.cleanup()
