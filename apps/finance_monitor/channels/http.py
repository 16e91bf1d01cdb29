"""One POST to a checked address, whose outcome is always known to be one of: answered, not sent, unknown."""

import asyncio
import ipaddress
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx

from finance_monitor.channels.message import SENT, Outcome
from headwater.addresses import is_public
from headwater.errors import HeadwaterError

# No message is worth more: connection, each pause, and everything together.
CONNECT_SECONDS = 5.0
PAUSE_SECONDS = 10.0
TOTAL_SECONDS = 20.0
_ANSWER_BYTES = 65_536
_LONGEST_PAUSE = 86_400.0
_AGENT = "Headwater/0.1 (finance monitor)"


@dataclass(frozen=True)
class Answer:
    """What the server said: its status, its headers in lower case, the first 64 KiB of its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object; empty when it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class NotSent(Exception):
    """Nothing reached the server: the same request may be made again."""


class Unknown(Exception):
    """The request went out, and no answer came back: it may have had its effect."""


def split_address(url: str) -> SplitResult:
    """The parts of an http(s) address. Raises HeadwaterError, which does not repeat it: it may hold a token."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or any(ord(character) <= 32 or ord(character) == 127 for character in url):
        raise HeadwaterError("the address is no http:// or https:// one")
    if "@" in parts.netloc:
        raise HeadwaterError(f"{parts.hostname}: an address with a user name or password in it is refused")
    return parts


def post(url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool, loopback: bool = False) -> Answer:
    """Post once, without redirects, to the very address that was checked.

    Raises HeadwaterError for an address that is refused, NotSent or Unknown (see there). `loopback` allows the own
    machine's addresses, and only those.
    """
    parts = split_address(url)
    address = _resolve(parts, allow_private=allow_private, loopback=loopback)
    started: list[str] = []
    host = parts.hostname
    try:
        return asyncio.run(_request(url, address, body, headers, started))
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise NotSent(f"{host} cannot be reached: {_words(error)}") from error
    except TimeoutError as error:
        message = f"{host} gave no answer within {TOTAL_SECONDS:g} seconds"
        raise (Unknown if started else NotSent)(message) from error
    except httpx.HTTPError as error:
        message = f"{host} ended the exchange before it answered: {_words(error)}"
        raise (Unknown if started else NotSent)(message) from error


def outcome_of(answer: Answer) -> Outcome:
    """What a status means: 2xx sent; 429 and 503 with Retry-After limited; what a later attempt can mend is retried.

    504 says that the answer is missing, not that the effect is: ambiguous.
    """
    status = answer.status
    if 200 <= status < 300:
        return SENT
    after = _retry_after(answer.headers.get("retry-after", ""))
    if status == 429 or (status == 503 and after is not None):
        return Outcome("limited", f"answered {status}, too many requests" if status == 429 else "answered 503", after)
    said = f"answered {status}{_excerpt(answer.body)}"
    if status == 504:
        return Outcome("ambiguous", said)
    if status in (408, 425) or status >= 500:
        return Outcome("retry", said, after)
    if 300 <= status < 400:
        return Outcome("failed", f"answered {status}: redirects are not followed; give the final address")
    return Outcome("failed", said)


def deliver(
    url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool, loopback: bool = False
) -> tuple[Outcome, Answer | None]:
    """`post`, with every failure as an outcome; the answer is there when the status was 2xx."""
    try:
        answer = post(url, body, headers, allow_private=allow_private, loopback=loopback)
    except HeadwaterError as error:
        return Outcome("failed", str(error)), None
    except NotSent as error:
        return Outcome("retry", str(error)), None
    except Unknown as error:
        return Outcome("ambiguous", str(error)), None
    outcome = outcome_of(answer)
    return outcome, answer if outcome.state == "sent" else None


def json_body(value: object) -> bytes:
    """JSON in UTF-8, as short as it gets."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


async def _request(url: str, address: str, body: bytes, headers: Mapping[str, str], started: list[str]) -> Answer:
    named = httpx.URL(url)
    pinned = named.copy_with(host=address, fragment=None)

    async def trace(event: str, info: Any) -> None:
        if event.endswith("send_request_headers.started"):
            started.append(event)

    sent = {"Host": named.netloc.decode("ascii"), "User-Agent": _AGENT, "Content-Type": "application/json", **headers}
    extensions: dict[str, Any] = {"trace": trace}
    if named.scheme == "https":
        extensions["sni_hostname"] = named.raw_host.decode("ascii")
    timeout = httpx.Timeout(PAUSE_SECONDS, connect=CONNECT_SECONDS)
    async with (
        asyncio.timeout(TOTAL_SECONDS),
        httpx.AsyncClient(timeout=timeout, trust_env=False, follow_redirects=False) as client,
        client.stream("POST", pinned, content=body, headers=sent, extensions=extensions) as response,
    ):
        data = bytearray()
        # A status is an answer; what is wrong with the body after it does not change that.
        try:
            async for block in response.aiter_bytes(8_192):
                data += block
                if len(data) >= _ANSWER_BYTES:
                    break
        except (httpx.HTTPError, ValueError):
            if 200 <= response.status_code < 300 and not data:
                raise
        return Answer(
            response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(data[:_ANSWER_BYTES])
        )


def _resolve(parts: SplitResult, *, allow_private: bool, loopback: bool) -> str:
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = [str(info[4][0]) for info in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)]
    except (OSError, ValueError) as error:
        raise NotSent(f"{parts.hostname} cannot be resolved: {error}") from error
    for address in found:
        if loopback:
            if not ipaddress.ip_address(address.split("%")[0]).is_loopback:
                raise HeadwaterError(f"{parts.hostname} is not this machine; an inbox is at a loopback address")
        elif not allow_private and not is_public(address):
            raise HeadwaterError(
                f"{parts.hostname} is the private address {address}, which is refused; "
                "for an intranet of your own set HEADWATER_ALLOW_PRIVATE_URLS=true"
            )
    return found[0]


def _retry_after(value: str) -> float | None:
    """Seconds of a Retry-After header, in either of its forms (RFC 9110, 10.2.3); None for anything else."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        seconds = float(value[:9])
    else:
        try:
            moment = parsedate_to_datetime(value)
        except (TypeError, ValueError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 1.0), _LONGEST_PAUSE)


def _excerpt(body: bytes) -> str:
    words = " ".join(body[:400].decode("utf-8", "replace").split())[:200]
    return f": {words}" if words else ""


def _words(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()
