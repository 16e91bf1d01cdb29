"""The outermost layer: an id, a log line, metrics and security headers for each request; never a body in a log."""

import logging
import re
import secrets
import time
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headwater.web.errors import log_defect, problem
from headwater.web.metrics import RequestMetrics, route_template

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
# The pages that FastAPI makes for people load their script and style from elsewhere.
_DOCUMENTATION = ("/docs", "/redoc")
_log = logging.getLogger("headwater.requests")


class ObservationMiddleware:
    """ASGI middleware; a response's own headers win over the security headers set here."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope["headwater.request_id"] = request_id
        status = 0
        started = time.perf_counter()

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message, scope["path"], request_id)
            await send(message)

        with self._metrics.active.track_inprogress():
            try:
                await self._app(scope, receive, observed)
            except Exception as error:
                log_defect(_log, error, request_id)
                if status:
                    raise  # the response had begun; the server has to break the connection
                detail = f"an unexpected error; the log of the gateway tells more under {request_id}"
                await problem(500, detail, request_id=request_id)(scope, receive, observed)
        seconds = time.perf_counter() - started
        self._metrics.observe(dict(scope), status, seconds)
        route = route_template(dict(scope))
        _log.info("%s %s %s %d %.1f ms", request_id, scope["method"], route, status, seconds * 1000)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return secrets.token_hex(8)


def _add_headers(message: Message, path: str, request_id: str) -> None:
    headers = MutableHeaders(raw=message["headers"]) if "headers" in message else MutableHeaders(scope=_empty(message))
    headers["X-Request-ID"] = request_id
    for name, value in _HEADERS.items():
        if name == "Content-Security-Policy" and path.startswith(_DOCUMENTATION):
            continue
        headers.setdefault(name, value)


def _empty(message: Message) -> dict[str, Any]:
    message["headers"] = []
    return {"headers": message["headers"]}
