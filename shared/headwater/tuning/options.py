"""A configuration dataclass as click options."""

import types
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import click

from headwater.tuning.config import TuneConfig, make_config, read_yaml

Command = Callable[..., Any]


def config_options(kind: type[TuneConfig]) -> Callable[[Command], Command]:
    """Decorate a command with one flag a field and `--config file.yaml`; it receives the finished configuration.

    Precedence: flag, then file, then default.
    """
    hints = get_type_hints(kind)

    def decorate(command: Command) -> Command:
        def run(config_file: Path | None, **given: Any) -> Any:
            values = read_yaml(config_file) if config_file else {}
            extra = {name: given.pop(name) for name in list(given) if name not in hints}
            values.update({name: value for name, value in given.items() if value is not None})
            config = make_config(kind, values, str(config_file or "command line"))
            return command(config, **extra)

        decorated: Command = run
        for option in reversed(fields(kind)):
            kind_of_value = click.Path() if option.metadata["path"] else _plain(hints[option.name])
            decorated = _flag(option.name, kind_of_value, option.default, option.metadata["help"])(decorated)
        file_option = click.option(
            "--config", "config_file", type=click.Path(path_type=Path), help="YAML file with these keys"
        )
        decorated = file_option(decorated)
        decorated.__doc__ = command.__doc__
        return decorated

    return decorate


def _flag(name: str, kind: Any, default: Any, help_text: str) -> Callable[[Command], Command]:
    shown = "" if default in (None, "", MISSING) else f"  [default: {default}]"
    flag = "--" + name.replace("_", "-")
    if kind is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=help_text + shown)
    return click.option(flag, name, type=kind, default=None, help=help_text + shown)


def _plain(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return next(part for part in get_args(hint) if part is not type(None))
    return hint
