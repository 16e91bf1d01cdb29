"""Server-sent events: named events with JSON data, an `error` event when the work breaks off."""

import json
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from starlette.responses import StreamingResponse

from headwater.errors import HeadwaterError
from headwater.storage.engine import outage
from headwater.web.errors import log_defect

_log = logging.getLogger("headwater.web")


def event_stream(events: Iterable[tuple[str, Any]]) -> StreamingResponse:
    """Stream (event name, JSON value) pairs; `events` is iterated in a worker thread, one event sent as it comes.

    https://html.spec.whatwg.org/multipage/server-sent-events.html
    """
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_encode(events), media_type="text/event-stream", headers=headers)


def _encode(events: Iterable[tuple[str, Any]]) -> Iterator[bytes]:
    try:
        for name, value in events:
            yield _event(name, value)
    except HeadwaterError as error:
        yield _failure(error)
    except Exception as error:  # noqa: BLE001 - the status line is out already: the stream itself must say it
        found = outage(error) if isinstance(error, sa.exc.DBAPIError) else None
        if found is not None:
            yield _failure(found)
            return
        log_defect(_log, error, "stream")
        yield _event("error", {"status": 500, "title": "Internal error", "detail": "the answer broke off; ask again"})


def _failure(error: HeadwaterError) -> bytes:
    return _event("error", {"status": error.status, "title": error.title, "detail": str(error)})


def _event(name: str, value: Any) -> bytes:
    # JSON escapes line breaks, so that one data line holds every value.
    return f"event: {name}\ndata: {json.dumps(value, ensure_ascii=False)}\n\n".encode()
