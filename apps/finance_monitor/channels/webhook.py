"""A signed webhook.

The body is JSON. `Idempotency-Key` is the same over all attempts of a message, so that a receiver can drop the second
one; `X-Headwater-Timestamp` is the second of this attempt; `X-Headwater-Signature` is `sha256=` and the HMAC-SHA256 in
hex, with the shared secret, of `<timestamp>.<body>`. A receiver compares in constant time and refuses a timestamp more
than REPLAY_SECONDS away from its own clock: `verify` does both.
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any

from finance_monitor.channels.http import deliver, json_body, split_address
from finance_monitor.channels.message import Installation, Message, Outcome
from finance_monitor.channels.options import check_fields, check_secret, has_secret, read_secret, secret_fields
from headwater.errors import HeadwaterError

IDEMPOTENT = True
PER_MINUTE = 0
REPLAY_SECONDS = 300


def check(options: Mapping[str, Any]) -> None:
    """Raises HeadwaterError for options that cannot work."""
    check_fields(options, {"url": str, **secret_fields("url"), **secret_fields("secret")})
    if bool(options.get("url")) == has_secret(options, "url"):
        raise HeadwaterError("options: give url, or url_env or url_file when the address holds a token")
    if options.get("url"):
        split_address(options["url"])
    else:
        check_secret(options, "url")
    check_secret(options, "secret")


def send(options: Mapping[str, Any], message: Message, installation: Installation) -> Outcome:
    """Post the message's data and texts, signed."""
    try:
        url = options.get("url") or read_secret(options, "url", installation)
        secret = read_secret(options, "secret", installation)
    except HeadwaterError as error:
        return Outcome("failed", str(error))
    body = json_body(payload(message))
    timestamp = str(int(time.time()))
    headers = {
        "Idempotency-Key": message.key,
        "X-Headwater-Timestamp": timestamp,
        "X-Headwater-Signature": signature(secret, timestamp, body),
    }
    return deliver(url, body, headers, allow_private=installation.allow_private)[0]


def payload(message: Message) -> dict[str, Any]:
    """The message as JSON values."""
    return {
        "version": 1,
        "key": message.key,
        "subject": message.subject,
        "text": message.text,
        "markdown": message.markdown,
        "link": message.link,
        "languages": list(message.languages),
        **message.data,
    }


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """The value of `X-Headwater-Signature`."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def verify(secret: str, timestamp: str, body: bytes, signed: str, now: float) -> bool:
    """What a receiver does: whether the signature is right and no older than the replay window."""
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(now - int(timestamp)) > REPLAY_SECONDS:
        return False
    return hmac.compare_digest(signature(secret, timestamp, body), signed)
