"""Every error as a problem document (RFC 9457), with the request's id and without anything of the request's body."""

import logging
import traceback
from http import HTTPStatus
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from headwater.errors import HeadwaterError
from headwater.storage.engine import outage

MEDIA_TYPE = "application/problem+json"
_INVALID_JSON = "json_invalid"


def problem(
    status: int,
    detail: str,
    *,
    title: str | None = None,
    request_id: str | None = None,
    headers: dict[str, str] | None = None,
    **extensions: Any,
) -> JSONResponse:
    """The response for a problem; `instance` names the request in the log."""
    body = {"type": "about:blank", "title": title or HTTPStatus(status).phrase, "status": status, "detail": detail}
    if request_id:
        body["instance"] = f"urn:request:{request_id}"
    return JSONResponse(body | extensions, status, headers=headers, media_type=MEDIA_TYPE)


def log_defect(log: logging.Logger, error: Exception, request_id: str) -> None:
    """Log the frames and the type, not the message: an exception's text may repeat what a customer wrote."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s unexpected %s\n%s", request_id, type(error).__qualname__, frames)


def add_error_handlers(app: FastAPI) -> None:
    """Answer HeadwaterErrors, invalid requests and unknown routes with problem documents."""

    @app.exception_handler(HeadwaterError)
    async def mendable(request: Request, error: HeadwaterError) -> JSONResponse:
        headers = {"Retry-After": "2"} if error.status == 503 else None
        return problem(error.status, str(error), title=error.title, request_id=_id(request), headers=headers)

    @app.exception_handler(sa.exc.DBAPIError)
    async def database(request: Request, error: sa.exc.DBAPIError) -> JSONResponse:
        found = outage(error)
        if found is None:
            raise error
        return await mendable(request, found)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # pydantic's own report repeats the input, which may hold what must not be logged or sent on.
        found = [
            {"place": ".".join(str(part) for part in entry["loc"]), "reason": entry["msg"]} for entry in error.errors()
        ]
        if any(entry["type"] == _INVALID_JSON for entry in error.errors()):
            return problem(400, "the body is not valid JSON", request_id=_id(request), errors=found)
        first = f"{found[0]['place']}: {found[0]['reason']}" if found else "invalid request"
        return problem(422, first, title="Invalid request", request_id=_id(request), errors=found)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        detail = str(error.detail)
        if error.status_code == 404 and detail == "Not Found":
            detail = f"there is nothing at {request.url.path}; /docs lists what there is"
        elif error.status_code == 405:
            detail = f"{request.method} is not possible at {request.url.path}"
        headers = dict(error.headers) if error.headers else None
        return problem(error.status_code, detail, request_id=_id(request), headers=headers)


def _id(request: Request) -> str | None:
    return request.scope.get("headwater.request_id")
