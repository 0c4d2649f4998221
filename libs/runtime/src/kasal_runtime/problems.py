"""Every refusal and every bug leaves as `application/problem+json` (RFC 9457)."""

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from kasal_contracts.errors import InvalidError, KasalError, StaleError, TooManyError
from kasal_contracts.problems import MEDIA_TYPE, FieldError, Problem
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from .context import request_id

DECLARED = (401, 403, 404, 409, 412, 413, 422, 429, 503)


def problem_response(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    filled = problem.model_copy(update={"request_id": request_id.get()})
    body = filled.model_dump_json(exclude_none=True)
    return Response(body, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def refusal_response(error: KasalError, path: str) -> Response:
    headers: dict[str, str] = {}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooManyError):
        headers["Retry-After"] = str(error.retry_after_s)
    problem = Problem(
        title=error.title, status=error.status, detail=error.detail, instance=path, errors=error.errors or None
    )
    return problem_response(problem, headers)


def bug_response(path: str) -> Response:
    detail = "Something went wrong on our side. The request id finds it in the logs."
    return problem_response(Problem(title="Internal error", status=500, detail=detail, instance=path))


def install_problem_handlers(app: FastAPI) -> None:
    @app.exception_handler(KasalError)
    async def _refused(request: Request, error: KasalError) -> Response:
        return refusal_response(error, request.url.path)

    @app.exception_handler(Exception)
    async def _bug(request: Request, _: Exception) -> Response:
        return bug_response(request.url.path)

    @app.exception_handler(StaleDataError)
    async def _stale(request: Request, _: StaleDataError) -> Response:
        return refusal_response(StaleError(), request.url.path)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.BAD_REQUEST:
            # The framework's word for a body that no JSON parser takes: broken UTF-8, too deep, a number too long.
            unreadable = FieldError(loc=["body"], msg="cannot be read")
            return refusal_response(InvalidError("the body cannot be read", errors=[unreadable]), request.url.path)
        title = HTTPStatus(error.status_code).phrase
        detail = str(error.detail) if error.detail != title else ""
        problem = Problem(title=title, status=error.status_code, detail=detail, instance=request.url.path)
        return problem_response(problem, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [FieldError(loc=list(item["loc"]), msg=item["msg"]) for item in error.errors()]
        problem = Problem(
            title="The request is not valid",
            status=422,
            detail="; ".join(f"{'.'.join(map(str, item.loc))}: {item.msg}" for item in errors[:3]),
            instance=request.url.path,
            errors=errors,
        )
        return problem_response(problem)


def declared_problems() -> dict[int | str, dict[str, object]]:
    """For the OpenAPI document: the statuses that any operation may answer with."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in DECLARED
    }
