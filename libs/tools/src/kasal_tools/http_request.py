"""One HTTP request, through the egress broker."""

from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from .plugins import Category, Effect, ToolContext, ToolError, ToolPlugin

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

SAFE: frozenset[Method] = frozenset({"GET", "HEAD"})
# What a model can make use of; the rest of a page only fills its context.
MAX_CHARACTERS = 20_000


class HttpRequestConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")

    methods: list[Method] = Field(
        default=["GET", "HEAD"],
        min_length=1,
        description="Methods that agents may use.",
    )
    hosts: list[str] = Field(default=[], description="Hosts that may be asked; empty means any public one.")
    timeout_s: float = Field(default=30, gt=0, le=300)


class HttpRequestArguments(BaseModel):
    url: str = Field(description="An absolute http or https URL.")
    method: Method = Field(default="GET", description="The HTTP method.")
    headers: dict[str, str] = Field(default={}, description="Request headers.")
    body: str | None = Field(default=None, description="The request's body, as text.")


class HttpRequest(ToolPlugin[HttpRequestConfig, HttpRequestArguments]):
    name: ClassVar[str] = "http_request"
    title: ClassVar[str] = "HTTP request"
    category: ClassVar[Category] = Category.DATA
    description: ClassVar[str] = "Sends one HTTP request and answers with the status and the text of the response."
    effect: ClassVar[Effect] = "effectful"
    Config: ClassVar[type[BaseModel]] = HttpRequestConfig
    Arguments: ClassVar[type[BaseModel]] = HttpRequestArguments

    @classmethod
    def effect_of(cls, config: HttpRequestConfig) -> Effect:
        return "idempotent" if SAFE.issuperset(config.methods) else "effectful"

    def run(self, arguments: HttpRequestArguments, context: ToolContext[HttpRequestConfig]) -> str:
        config = context.config
        if arguments.method not in config.methods:
            raise ToolError(f"{arguments.method} is not allowed here; allowed: {', '.join(config.methods)}.")
        host = urlsplit(arguments.url).hostname
        if config.hosts and host not in config.hosts:
            raise ToolError(f"{host} is not allowed here; allowed: {', '.join(config.hosts)}.")
        body = None if arguments.body is None else arguments.body.encode()
        response = context.http(
            arguments.method,
            arguments.url,
            headers=arguments.headers,
            body=body,
            timeout_s=config.timeout_s,
        )
        text = response.text[:MAX_CHARACTERS]
        cut = "\n… (cut)" if response.truncated or len(response.text) > MAX_CHARACTERS else ""
        return f"HTTP {response.status}\n\n{text}{cut}"
