"""The dead man's switch: an outside service, asked each minute, that raises the alarm when it no longer is."""

import logging
import threading
import time
from urllib.parse import urlsplit

import httpx

_EVERY_SECONDS = 60.0
_TIMEOUT_SECONDS = 10.0
_log = logging.getLogger("headwater.scheduler")


class Heartbeat:
    """Asks for `url` in a thread, so that a slow answer keeps nothing waiting; without an address it never does."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._next = 0.0
        self._thread: threading.Thread | None = None

    def is_due(self) -> bool:
        """Whether a minute has passed and the last request has ended."""
        if self._url is None or time.monotonic() < self._next:
            return False
        return self._thread is None or not self._thread.is_alive()

    def send(self) -> None:
        self._next = time.monotonic() + _EVERY_SECONDS
        self._thread = threading.Thread(target=self._ask, args=(self._url,), name="heartbeat", daemon=True)
        self._thread.start()

    def _ask(self, url: str) -> None:
        # The address is a secret: whoever knows it can keep the switch from going off.
        host = urlsplit(url).hostname
        try:
            # A proxy has no way to this machine's own addresses.
            answer = httpx.get(url, timeout=_TIMEOUT_SECONDS, trust_env=url.startswith("https:"))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            _log.warning("the heartbeat address at %s cannot be reached: %s", host, type(error).__name__)
            return
        if not answer.is_success:
            _log.warning(
                "the heartbeat address at %s answered %d; check HEADWATER_HEARTBEAT_URL", host, answer.status_code
            )
