"""Model calls: from a child to the provider and back, with the key added here and failures put into words."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import unquote

from aiohttp import web
from kasal_contracts.models import Provider, ResolvedModel
from kasal_contracts.wire import JsonObject
from kasal_egress import Egress, EgressResponse, Timeouts
from kasal_egress.errors import EgressError
from pydantic import SecretStr, TypeAdapter, ValidationError

from . import demo_model
from .chat_chunks import completion_frames
from .guests import Guest
from .local_model import LocalModel
from .model_failures import broken_stream, not_an_answer, not_answered, refused_by_model
from .providers import APIS, is_local, url_of
from .refusals import BrokerRefusedError
from .settings import WorkerSettings

MAX_ANSWER_BYTES = 64 * 2**20
MAX_REFUSAL_BYTES = 64 * 1024
EVENT_STREAM = "text/event-stream"
# What a child may say to a provider beside its request; everything else is about its own connection.
FORWARDED = ("Accept", "anthropic-version", "anthropic-beta")

_Body: TypeAdapter[JsonObject] = TypeAdapter(JsonObject)


@dataclass(frozen=True)
class _ModelCall:
    """One call on its way. `path` is the provider's own, such as `v1/chat/completions`."""

    request: web.Request
    model: ResolvedModel
    path: str
    body: JsonObject

    @property
    def wants_stream(self) -> bool:
        return self.body.get("stream") is True or "streamGenerateContent" in self.path


class ModelCalls:
    def __init__(self, egress: Egress, local_model: LocalModel, settings: WorkerSettings) -> None:
        self._egress = egress
        self._local_model = local_model
        self._settings = settings

    async def handle(self, request: web.Request, guest: Guest) -> web.StreamResponse:
        """`POST /llm/{alias}/{path}`. Raises BrokerRefusedError before the first byte of the answer."""
        call = await _read_call(request, guest)
        if call.model.provider is Provider.DEMO:
            return await demo_model.answer(request, call.model, call.body)
        key = await guest.keys.key_of(call.model)
        try:
            async with self._sent(call, key) as answer:
                return await _relayed(call, answer, key)
        except EgressError as error:
            raise not_answered(call.model, error) from None

    @asynccontextmanager
    async def _sent(self, call: _ModelCall, key: SecretStr | None) -> AsyncGenerator[EgressResponse]:
        if is_local(call.model):
            async with self._local_model.asked(call.model, call.body) as answer:
                yield answer
            return
        url = url_of(call.model, call.path, self._settings.databricks_host)
        query = "?alt=sse" if call.path.endswith(":streamGenerateContent") else ""
        body = call.body if "model" not in call.body else {**call.body, "model": call.model.model}
        headers = {name: call.request.headers[name] for name in FORWARDED if name in call.request.headers}
        async with self._egress.request(
            "POST",
            url + query,
            headers={"Content-Type": "application/json", **headers},
            credential_headers=APIS[call.model.provider].credentials(key.get_secret_value() if key else None),
            body=_Body.dump_json(body),
            timeouts=Timeouts(idle=self._settings.llm_timeout),
            max_bytes=MAX_ANSWER_BYTES,
            repeatable=True,
        ) as answer:
            yield answer


async def _read_call(request: web.Request, guest: Guest) -> _ModelCall:
    # The alias is one quoted segment and may hold slashes, so the path is taken apart before it is unquoted.
    alias, _, path = request.rel_url.raw_path.removeprefix("/llm/").partition("/")
    model = guest.model(unquote(alias))
    try:
        body = _Body.validate_json(await request.read())
    except ValidationError:
        raise BrokerRefusedError(
            f"The request to the model “{model.alias}” is not a JSON object.", status=400
        ) from None
    return _ModelCall(request, model, unquote(path), body)


async def _relayed(call: _ModelCall, answer: EgressResponse, key: SecretStr | None) -> web.StreamResponse:
    if answer.status >= 300:
        raise refused_by_model(call.model, answer.status, await _start_of(answer), key)
    if answer.headers.get("Content-Type", "").startswith(EVENT_STREAM):
        return await _streamed(call, answer)
    content = await answer.read()
    completion = _checked(call.model, content)
    if call.wants_stream and APIS[call.model.provider].answer == "choices":
        # Some servers ignore `stream`; the child's client does not expect that.
        return await _written(call.request, completion_frames(completion))
    return web.Response(body=content, content_type="application/json")


def _checked(model: ResolvedModel, content: bytes) -> JsonObject:
    """Raises BrokerRefusedError for what is not a complete answer of the model's provider."""
    try:
        completion = _Body.validate_json(content)
    except ValidationError:
        raise not_an_answer(model) from None
    if APIS[model.provider].answer not in completion and "totalTokens" not in completion:
        raise not_an_answer(model)
    return completion


async def _streamed(call: _ModelCall, answer: EgressResponse) -> web.StreamResponse:
    response = _event_stream()
    await response.prepare(call.request)
    try:
        async for chunk in answer.iter_bytes():
            await response.write(chunk)
    except EgressError as error:
        await response.write(broken_stream(call.model, error))
    await response.write_eof()
    return response


async def _written(request: web.Request, frames: list[bytes]) -> web.StreamResponse:
    response = _event_stream()
    await response.prepare(request)
    for frame in frames:
        await response.write(frame)
    await response.write_eof()
    return response


def _event_stream() -> web.StreamResponse:
    return web.StreamResponse(headers={"Content-Type": EVENT_STREAM, "Cache-Control": "no-store"})


async def _start_of(answer: EgressResponse) -> bytes:
    content = bytearray()
    async for chunk in answer.iter_bytes():
        content += chunk
        if len(content) > MAX_REFUSAL_BYTES:
            break
    return bytes(content[:MAX_REFUSAL_BYTES])
