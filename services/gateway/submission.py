"""What a submitted command may name: no remote editor reads or writes the server's own files."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from headwater.cli.main import cli
from headwater.errors import HeadwaterError

# Parameters whose value is a model: a name, or a folder. Every other one that takes a file or folder is a click.Path.
MODELS = frozenset({"base", "reference"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}(@[0-9]{1,9})?")


def check_files(argv: Sequence[str], runs: Path) -> None:
    """Raise HeadwaterError unless every file or folder that the command names lies inside `runs` (home/runs).

    The words are parsed as the job will parse them, so that `--train X` and `--train=X` are one. Not all of the state
    folder is open: it also holds the databases and the admin's token. Only absolute paths mean the same to every
    process. `--config` is refused as such: what the file names could change between this look and the job's.
    """
    for word in argv:
        if not _is_plain(word):
            raise HeadwaterError(f"{word!r} has a character that no command takes; leave it out")
    for parameter, value in _parsed(argv):
        shown = parameter.opts[0]
        if shown == "--config":
            raise HeadwaterError("--config cannot be used over HTTP; give each of its keys as an option")
        if parameter.name in MODELS and _NAME.fullmatch(value) and not Path(value).exists():
            continue
        if parameter.name in MODELS or isinstance(parameter.type, click.Path):
            _check_inside(shown, value, runs, is_model=parameter.name in MODELS)


def _is_plain(word: str) -> bool:
    """No NUL, and no half of a surrogate pair, which JSON can carry and no process can be given."""
    return "\0" not in word and not any("\ud800" <= character <= "\udfff" for character in word)


def _check_inside(shown: str, value: str, runs: Path, *, is_model: bool) -> None:
    if not (Path(value).is_absolute() and runs.resolve() in Path(value).resolve().parents):
        way_out = "name a catalog model, a registered NAME[@VERSION], or" if is_model else "give"
        raise HeadwaterError(
            f"{shown} {value!r} is outside of {runs}, the only folder whose files a job over HTTP may use; "
            f"{way_out} the absolute path of something in it, or use the command line on the server"
        )


def _parsed(argv: Sequence[str]) -> Iterator[tuple[click.Parameter, str]]:
    """Each parameter of the command that was given a text, with that text. Raises HeadwaterError as click would."""
    words = list(argv)
    command: click.Command | None = cli
    context = click.Context(cli, info_name="headwater")
    try:
        while isinstance(command, click.Group):
            name = words.pop(0) if words else ""
            context, parent = click.Context(command, context, info_name=name), command
            command = parent.get_command(context, name)
            if command is None:
                known = ", ".join(parent.list_commands(context))
                raise HeadwaterError(f"there is no command {name!r} in {' '.join(argv[:2])!r}; there are: {known}")
        assert command is not None
        context = command.make_context(name, words, parent=context, help_option_names=[])
    except click.UsageError as error:
        raise HeadwaterError(f"{' '.join(argv[:2])}: {error.format_message()}") from error
    for parameter in command.params:
        value = context.params[str(parameter.name)]
        for part in value if isinstance(value, tuple | list) else [value]:
            if isinstance(part, str | Path):
                yield parameter, str(part)
