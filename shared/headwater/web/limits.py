"""Limits before any work is done: size of the body, requests a minute and address, requests at once."""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headwater.web.errors import problem

# Watching processes must see a busy gateway as alive.
ALWAYS_OPEN = ("/healthz", "/readyz", "/jobsz", "/metrics")
_ADDRESSES = 10_000
# A body that stops coming holds a place among the requests at once.
_BODY_SECONDS = 30.0


class RateLimiter:
    """A token bucket an address: `per_minute` requests at once, refilled evenly; knows the last 10,000 addresses."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = float(per_minute)
        self._per_second = per_minute / 60
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def seconds_to_wait(self, address: str) -> float:
        """Take one request: 0.0 when it may go on, else the time until the next one may."""
        with self._lock:
            moment = self._clock()
            tokens, last = self._buckets.pop(address, (self._capacity, moment))
            tokens = min(self._capacity, tokens + (moment - last) * self._per_second)
            allowed = tokens >= 1
            self._buckets[address] = (tokens - 1 if allowed else tokens, moment)
            while len(self._buckets) > _ADDRESSES:
                self._buckets.popitem(last=False)
            return 0.0 if allowed else (1 - tokens) / self._per_second


class LimitsMiddleware:
    """ASGI middleware; `is_known` says whether a request's user may pass the rate limit (it runs for each request)."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        requests_per_minute: int,
        max_concurrent: int,
        is_known: Callable[[Scope], bool],
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._limiter = RateLimiter(requests_per_minute) if requests_per_minute else None
        self._max_concurrent = max_concurrent
        self._is_known = is_known
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in ALWAYS_OPEN:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        self._active += 1
        try:
            await self._app(scope, _counted(receive, self._max_body_bytes), send)
        finally:
            self._active -= 1

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        request_id = scope.get("headwater.request_id")
        if b"%00" in scope.get("raw_path", b"") + scope.get("query_string", b""):
            return problem(400, "the address holds a NUL character (%00)", request_id=request_id)
        length = _content_length(scope)
        if length is not None and length > self._max_body_bytes:
            return problem(
                413, _too_large(self._max_body_bytes), request_id=request_id, headers={"Connection": "close"}
            )
        if self._active >= self._max_concurrent:
            detail = f"{self._active} requests are being answered; try again in a moment"
            return problem(503, detail, request_id=request_id, headers={"Retry-After": "1"})
        if self._limiter is not None:
            address = scope["client"][0] if scope.get("client") else "unknown"
            wait = 0.0 if self._is_known(scope) else self._limiter.seconds_to_wait(address)
            if wait > 0:
                detail = f"too many requests from {address}; try again in {wait:.0f} s"
                return problem(429, detail, request_id=request_id, headers={"Retry-After": str(int(wait) + 1)})
        return None


def _content_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None


def _counted(receive: Receive, limit: int) -> Receive:
    """`receive` that refuses a body as soon as it grows above the limit, or when it does not come to its end."""
    received = 0
    complete = False

    async def counted() -> Message:
        nonlocal received, complete
        try:
            # After the body only the end of the connection can come, and that may take its time.
            message: dict[str, Any] = dict(await asyncio.wait_for(receive(), None if complete else _BODY_SECONDS))
        except TimeoutError as error:
            detail = f"the body stopped coming for {_BODY_SECONDS:g} s after {received:,} bytes; send it again"
            raise HTTPException(408, detail, {"Connection": "close"}) from error
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > limit:
                raise HTTPException(413, _too_large(limit))
        return message

    return counted


def _too_large(limit: int) -> str:
    return f"the request is larger than {limit:,} bytes; send less, or raise HEADWATER_MAX_DOCUMENT_BYTES"
