"""Options of channels: typed, and never a secret among them.

A secret stands in an environment variable `HEADWATER_CHANNEL_…` (`password_env`) or in a file of the folder
`HEADWATER_HOME/secrets` (`password_file`). Other variables and files are refused: whoever may edit a channel could
otherwise send any secret of the process to a server of theirs.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from finance_monitor.channels.message import Installation
from headwater.errors import HeadwaterError

PREFIX = "HEADWATER_CHANNEL_"
_VARIABLE = re.compile(PREFIX + r"[A-Z0-9_]{1,60}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")


def check_fields(options: Mapping[str, Any], allowed: Mapping[str, type], required: tuple[str, ...] = ()) -> None:
    """Raises HeadwaterError for an unknown field, a wrong type, a control character, or a required field that lacks."""
    for name, value in options.items():
        if name not in allowed:
            raise HeadwaterError(f"options: no field {name!r}; the fields: {', '.join(allowed)}")
        wanted = allowed[name]
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise HeadwaterError(f"options: {name} must be {_NAMES[wanted]}, found {value!r}")
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and _CONTROL.search(text) for text in texts):
            raise HeadwaterError(f"options: {name} has a line break or control character in it")
    for name in required:
        if not options.get(name):
            raise HeadwaterError(f"options: {name} is missing")


_NAMES: dict[type, str] = {str: "a text", int: "a whole number", bool: "true or false", list: "a list of texts"}


def secret_fields(name: str) -> dict[str, type]:
    """The two fields that can name the secret `name`."""
    return {f"{name}_env": str, f"{name}_file": str}


def check_secret(options: Mapping[str, Any], name: str, *, required: bool = True) -> None:
    """Raises HeadwaterError unless exactly one place is named for the secret, and it is one that may be read."""
    variable, file = options.get(f"{name}_env", ""), options.get(f"{name}_file", "")
    if variable and file:
        raise HeadwaterError(f"options: give {name}_env or {name}_file, not both")
    if not variable and not file:
        if required:
            raise HeadwaterError(f"options: {name}_env or {name}_file is missing; secrets are never stored in options")
        return
    if variable and not _VARIABLE.fullmatch(variable):
        raise HeadwaterError(f"options: {name}_env must be a variable named {PREFIX}…, found {variable!r}")
    if file and not _FILE.fullmatch(file):
        raise HeadwaterError(f"options: {name}_file must be a file's name in HEADWATER_HOME/secrets, found {file!r}")


def has_secret(options: Mapping[str, Any], name: str) -> bool:
    """Whether the options name a place for the secret."""
    return bool(options.get(f"{name}_env") or options.get(f"{name}_file"))


def read_secret(options: Mapping[str, Any], name: str, installation: Installation) -> str:
    """The secret's value now. Raises HeadwaterError saying where it was looked for, never what was found."""
    check_secret(options, name)
    variable, file = str(options.get(f"{name}_env", "")), str(options.get(f"{name}_file", ""))
    if variable:
        value = os.environ.get(variable, "").strip()
        if not value:
            raise HeadwaterError(f"the environment variable {variable} is not set")
        return value
    if installation.secrets is None:
        raise HeadwaterError(f"{file}: there is no folder of secrets here; use {name}_env")
    try:
        value = (installation.secrets / file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise HeadwaterError(f"secrets/{file} cannot be read: {type(error).__name__}") from None
    if not value:
        raise HeadwaterError(f"secrets/{file} is empty")
    return value
