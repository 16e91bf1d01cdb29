"""What the robots of DingTalk, Feishu and WeCom share: signatures, and error codes inside 200 answers."""

import base64
import hashlib
import hmac
from collections.abc import Collection, Mapping

from finance_monitor.channels.http import Answer, deliver, json_body
from finance_monitor.channels.message import SENT, Installation, Outcome


def signed(key: str, text: str) -> str:
    """HMAC-SHA256 of `text` in base64."""
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()


def post(url: str, value: object, installation: Installation) -> tuple[Outcome, Answer | None]:
    """Post a value as JSON; the answer is there when its code must be read."""
    return deliver(url, json_body(value), {}, allow_private=installation.allow_private)


def coded(answer: Answer, names: tuple[str, str], limited: Mapping[int, float], passing: Collection[int]) -> Outcome:
    """The outcome of a 200 answer: code 0 is sent; `limited` gives codes and seconds to wait; `passing` are retried."""
    values = answer.json()
    code, said = values.get(names[0]), str(values.get(names[1], ""))[:200]
    if code == 0:
        return SENT
    if not isinstance(code, int):
        return Outcome("failed", f"the answer has no {names[0]}: {answer.body[:200].decode('utf-8', 'replace')}")
    reason = f"{names[0]} {code}: {said}"
    if code in limited:
        return Outcome("limited", reason, limited[code])
    return Outcome("retry" if code in passing else "failed", reason)
