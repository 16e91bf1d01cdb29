"""E-mail by SMTP (RFC 5321), as plain text with an HTML alternative.

The Message-ID is made of the message's key, so that a mailbox can recognise a second copy.
"""

import hashlib
import re
import smtplib
import socket
import ssl
from collections.abc import Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime
from pathlib import Path
from typing import Any

from finance_monitor.channels.message import SENT, Installation, Message, Outcome
from finance_monitor.channels.options import check_fields, check_secret, has_secret, read_secret, secret_fields
from headwater.errors import HeadwaterError

IDEMPOTENT = False
PER_MINUTE = 0
_SECONDS = 20.0
_SECURITY = ("starttls", "ssl", "none")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_FIELDS: dict[str, type] = {
    "host": str,
    "port": int,
    "security": str,
    "sender": str,
    "to": list,
    "username": str,
    "ca_file": str,
    **secret_fields("password"),
}


def check(options: Mapping[str, Any]) -> None:
    """Raises HeadwaterError for options that cannot work."""
    check_fields(options, _FIELDS, required=("host", "sender", "to"))
    security = options.get("security", "starttls")
    if security not in _SECURITY:
        raise HeadwaterError(f"options: security is one of {', '.join(_SECURITY)}, found {security!r}")
    if not 1 <= options.get("port", 587) <= 65_535:
        raise HeadwaterError(f"options: port is 1 to 65535, found {options['port']}")
    for address in [options["sender"], *options["to"]]:
        _address(address)
    if bool(options.get("username")) != has_secret(options, "password"):
        raise HeadwaterError("options: username and password_env (or password_file) go together")
    if options.get("username"):
        check_secret(options, "password")
        if security == "none":
            raise HeadwaterError("options: a password is sent over starttls or ssl only")


def _address(text: object) -> Address:
    try:
        if not isinstance(text, str) or _CONTROL.search(text):
            raise ValueError
        found = Address(addr_spec=text)
        if not found.domain:
            raise ValueError
    except (ValueError, IndexError, TypeError):
        raise HeadwaterError(f"options: {text!r} is no e-mail address; write name@example.com") from None
    except Exception as error:
        # The parser's own errors are not all ValueErrors.
        raise HeadwaterError(f"options: {text!r} is no e-mail address: {error}") from error
    return found


def send(options: Mapping[str, Any], message: Message, installation: Installation) -> Outcome:
    """One transaction for all recipients; some refused and some taken is sent, with the refusals as its reason."""
    try:
        check(options)
        password = read_secret(options, "password", installation) if options.get("username") else ""
        data = compose(options, message)
    except HeadwaterError as error:
        return Outcome("failed", str(error))
    host = options["host"]
    server: smtplib.SMTP | None = None
    try:
        server = _connect(options)
        if password:
            server.login(options["username"], password)
        return _transfer(server, options["sender"], options["to"], data)
    except smtplib.SMTPResponseException as error:
        return _answered(error.smtp_code, error.smtp_error)
    except ssl.SSLCertVerificationError as error:
        return Outcome("failed", f"{host}: its certificate is not trusted: {error.verify_message}")
    except smtplib.SMTPNotSupportedError as error:
        return Outcome("failed", f"{host}: {error}")
    except (OSError, smtplib.SMTPException) as error:
        return Outcome("retry", f"{host}: {type(error).__name__} {error}".strip())
    finally:
        if server is not None:
            server.close()


def compose(options: Mapping[str, Any], message: Message) -> bytes:
    """The message in RFC 5322 form. Line breaks in a title cannot reach a header: they are taken out of the subject."""
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = " ".join(_CONTROL.sub(" ", message.subject).split())[:200]
    mail["From"] = _address(options["sender"])
    mail["To"] = [_address(address) for address in options["to"]]
    mail["Date"] = format_datetime(localtime())
    mail["Message-ID"] = f"<{hashlib.sha256(message.key.encode()).hexdigest()[:40]}@headwater.invalid>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(_clean(message.text))
    mail.add_alternative(_clean(message.html), subtype="html")
    return mail.as_bytes()


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _connect(options: Mapping[str, Any]) -> smtplib.SMTP:
    security = options.get("security", "starttls")
    port = options.get("port", {"starttls": 587, "ssl": 465, "none": 25}[security])
    context = ssl.create_default_context()
    if options.get("ca_file"):
        context.load_verify_locations(Path(options["ca_file"]))
    if security == "ssl":
        return smtplib.SMTP_SSL(options["host"], port, timeout=_SECONDS, context=context)
    server = smtplib.SMTP(options["host"], port, timeout=_SECONDS)
    if security == "starttls":
        try:
            server.starttls(context=context)
        except BaseException:
            server.close()
            raise
    return server


def _transfer(server: smtplib.SMTP, sender: str, recipients: list[str], data: bytes) -> Outcome:
    server.ehlo_or_helo_if_needed()
    code, said = server.mail(sender)
    if code != 250:
        return _answered(code, said)
    refused = {}
    for address in recipients:
        code, said = server.rcpt(address)
        if code not in (250, 251):
            refused[address] = (code, said)
    if len(refused) == len(recipients):
        worst = min(refused.values())
        return _answered(*worst)
    code, said = server.docmd("DATA")
    if code != 354:
        return _answered(code, said)
    # From here on a missing answer leaves open whether the message was taken.
    try:
        server.send(_dotted(data))
        code, said = server.getreply()
    except (OSError, smtplib.SMTPServerDisconnected) as error:
        kind = "no answer in time" if isinstance(error, socket.timeout) else f"{type(error).__name__} {error}".strip()
        return Outcome("ambiguous", f"the server had the message and did not confirm it: {kind}")
    if code != 250:
        return _answered(code, said)
    if refused:
        return Outcome("sent", "not taken for " + ", ".join(f"{name} ({code})" for name, (code, _) in refused.items()))
    return SENT


def _dotted(data: bytes) -> bytes:
    """Lines end in CRLF, a leading dot is doubled, a dot alone ends it (RFC 5321, 4.5.2)."""
    lines = re.sub(rb"(?m)^\.", b"..", re.sub(rb"\r\n|\r|\n", b"\r\n", data))
    return (lines if lines.endswith(b"\r\n") else lines + b"\r\n") + b".\r\n"


def _answered(code: int, said: bytes | str) -> Outcome:
    words = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    reason = f"the mail server answered {code} {' '.join(words.split())[:200]}".strip()
    return Outcome("failed" if code >= 500 else "retry", reason)
