"""What the gateway answers itself: health, versions, the API's document and its reader."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from kasal_contracts.errors import NotFoundError
from kasal_runtime.metrics import HttpMetrics
from kasal_runtime.readiness import Check, Readiness, readiness
from kasal_runtime.version import VERSION
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from .documents import Documents
from .openapi import merged
from .operations import API_VERSION, Versions, own_document

UNREACHABLE = "unreachable"
DOCS = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Kasal API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
# Beside the page, because the content security policy allows no inline script.
START = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: true,
  validatorUrl: null,
});
"""
ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}


@dataclass(frozen=True)
class Pages:
    checks: Mapping[str, Check]
    metrics: HttpMetrics
    documents: Documents

    def routes(self) -> list[Route]:
        return [
            Route("/", self.home),
            Route("/healthz", self.alive),
            Route("/readyz", self.ready),
            Route("/metrics", self.measured),
            Route("/openapi.json", self.openapi),
            Route("/docs", self.docs),
            Route("/docs/{name}", self.docs_asset),
            Route("/api/v1/version", self.version),
        ]

    async def home(self, _: Request) -> Response:
        return RedirectResponse("/docs")

    async def alive(self, _: Request) -> Response:
        return _json(Readiness(status="ok", checks={}))

    async def ready(self, _: Request) -> Response:
        answer = await readiness(self.checks)
        return _json(answer, 200 if answer.status == "ok" else 503)

    async def measured(self, _: Request) -> Response:
        return Response(generate_latest(self.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def version(self, _: Request) -> Response:
        shelf = await self.documents.shelf()
        known = {name: document.info.version for name, document in shelf.documents.items()}
        services = {name: known[name] for name in known.keys() - shelf.away} | dict.fromkeys(shelf.away, UNREACHABLE)
        return _json(Versions(version=VERSION, api=API_VERSION, services=dict(sorted(services.items()))))

    async def openapi(self, _: Request) -> Response:
        return JSONResponse(merged(await self.documents.shelf(), own_document()))

    async def docs(self, _: Request) -> Response:
        return HTMLResponse(DOCS)

    async def docs_asset(self, request: Request) -> Response:
        name: str = request.path_params["name"]
        if name == "start.js":
            return Response(START, media_type="text/javascript")
        if name not in ASSETS:
            raise NotFoundError("path", request.url.path)
        content = files("fastapi_offline").joinpath("static", name).read_bytes()
        return Response(content, media_type=ASSETS[name], headers={"Cache-Control": "public, max-age=86400"})


def _json(model: BaseModel, status: int = 200) -> Response:
    return Response(model.model_dump_json(), status, media_type="application/json")
