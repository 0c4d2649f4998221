"""The ASGI application of a service, with everything that all services answer alike."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from kasal_contracts.problems import Problem
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp

from .boundary import Boundary
from .metrics import HttpMetrics
from .problems import declared_problems, install_problem_handlers
from .readiness import Check, Readiness, readiness
from .security import Authentication
from .service import Host
from .version import VERSION

API = "/api/v1"


class Alive(Readiness):
    """`/healthz` answers as long as the process does."""


def service_app(
    name: str,
    host: Host,
    *,
    routers: Sequence[APIRouter],
    checks: Mapping[str, Check],
    body_limit: int,
    open_paths: frozenset[str] = frozenset(),
    state: Mapping[str, object] | None = None,
) -> ASGIApp:
    """`routers` carry full paths. `state` becomes `request.app.state`; `open_paths` need no token."""
    app = FastAPI(
        title=f"Kasal {name}",
        version=VERSION,
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        responses=declared_problems(),
    )
    for key, value in (state or {}).items():
        setattr(app.state, key, value)
    install_problem_handlers(app)
    app.include_router(_health(checks, host.metrics))
    for router in routers:
        app.include_router(router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    guarded = Authentication(app, host.verifier, open_paths)
    return Boundary(guarded, service=name, body_limit=body_limit, metrics=host.metrics)


def _operation_id(route: APIRoute) -> str:
    return route.name


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schemas["Problem"].pop("$defs", {}))
        app.openapi_schema = document
    return app.openapi_schema


def _health(checks: Mapping[str, Check], metrics: HttpMetrics) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def healthz() -> Alive:
        return Alive(status="ok", checks={})

    @router.get("/readyz")
    async def readyz(response: Response) -> Readiness:
        answer = await readiness(checks)
        response.status_code = 200 if answer.status == "ok" else 503
        return answer

    @router.get("/metrics")
    async def metrics_text() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router
