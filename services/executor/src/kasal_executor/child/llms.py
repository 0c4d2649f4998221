"""One model client per resolved model."""

from collections.abc import Callable, Mapping
from typing import Any

import httpx
from crewai.llms.base_llm import BaseLLM
from kasal_contracts.executions import ErrorCode
from kasal_contracts.models import Provider, ResolvedModel
from kasal_contracts.wire import JsonObject

from .broker import Broker, model_url
from .engine.llms import SeatedAnthropic, SeatedGemini, SeatedOpenAI, answer_schema, seated
from .failures import CALL_FAILURES, empty_answer, is_recoverable, model_failure
from .names import Names
from .pace import Pace
from .stop import Stop, stopped

# Their servers enforce a JSON schema on the answer; elsewhere the parameter may be refused.
ENFORCES_SCHEMA = frozenset({Provider.OPENAI, Provider.DATABRICKS, Provider.DEMO})
LOCAL = "local://"

Schemas = Mapping[str, JsonObject]
"""What the answers of some tasks must satisfy, by task key."""


class ModelSeat:
    """Where an execution meets one model: pace, stop, failures and the schema of the answer."""

    def __init__(
        self, model: ResolvedModel, broker: Broker, stop: Stop, pace: Pace, names: Names, schemas: Schemas
    ) -> None:
        self.alias = model.alias
        self.context_window = model.context_window
        self.strict_tools = model.provider is Provider.OPENAI
        self.http: httpx.Client = broker.client
        self.token = broker.token
        self.url = model_url(model.alias)
        self._stop = stop
        self._pace = pace
        self._names = names
        self._schemas = schemas if _enforces_schema(model) else {}

    def ask(self, call: Callable[[], Any], *, agent: Any, task: Any, has_tools: bool, has_form: bool) -> Any:
        """`has_form`: CrewAI itself asks for a certain form of answer.

        Raise `ExecutionStopped` for every failure that CrewAI could not mend.
        """
        self._stop.check()
        self._pace.wait(None if agent is None else self._names.agents.get(str(agent.id)))
        asked = None if has_tools or has_form or task is None else self._names.tasks.get(str(task.id))
        schema = None if asked is None else self._schemas.get(asked)
        token = answer_schema.set(schema)
        try:
            answer = self._answer(call, has_tools=has_tools, has_form=has_form)
        finally:
            answer_schema.reset(token)
        if answer in ("", None):
            raise self._stop.fail(empty_answer(self.alias))
        return answer

    def _answer(self, call: Callable[[], Any], *, has_tools: bool, has_form: bool) -> Any:
        try:
            return call()
        except CALL_FAILURES as error:
            self._stop.check()
            if has_tools and is_recoverable(error):
                raise
            raise self._stop.fail(model_failure(error, self.alias, has_form=has_form)) from error


def _enforces_schema(model: ResolvedModel) -> bool:
    return model.provider in ENFORCES_SCHEMA or (model.base_url or "").startswith(LOCAL)


class Models:
    """The models of a snapshot by alias; each client is made once."""

    def __init__(self, models: list[ResolvedModel], default: str, seat: Callable[[ResolvedModel], ModelSeat]) -> None:
        self._resolved = {model.alias: model for model in models}
        self._default = default
        self._seat = seat
        self._clients: dict[str, BaseLLM] = {}

    def __getitem__(self, alias: str | None) -> BaseLLM:
        name = alias or self._default
        if name not in self._resolved:
            raise stopped(ErrorCode.MODEL_ERROR, f"The model “{name}” is not among the models of this execution.")
        if name not in self._clients:
            self._clients[name] = client(self._resolved[name], self._seat(self._resolved[name]))
        return self._clients[name]


def client(model: ResolvedModel, seat: ModelSeat) -> BaseLLM:
    fields: dict[str, Any] = {
        "model": model.model,
        "temperature": model.temperature,
        "extra": model.extra,
        "api_key": seat.token,
    }
    match model.provider:
        case Provider.ANTHROPIC:
            return seated(SeatedAnthropic, seat, max_tokens=model.max_tokens, **fields)
        case Provider.GOOGLE:
            return seated(SeatedGemini, seat, max_output_tokens=model.max_tokens, **fields)
        case _:
            # `custom_openai` keeps CrewAI from trying OpenAI's Responses API, which only OpenAI has.
            fields |= {"custom_openai": True, "base_url": f"{seat.url}/v1"}
            # OpenAI's own models refuse the older name of the limit, and other servers do not know the newer one.
            limit = "max_completion_tokens" if model.provider is Provider.OPENAI else "max_tokens"
            return seated(SeatedOpenAI, seat, **{limit: model.max_tokens}, **fields)
