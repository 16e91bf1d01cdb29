"""Every verb's --help shows an example that this installation accepts; every list prints JSON for programs."""

import json
import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from headwater.cli.main import cli
from headwater.settings import Settings


def commands(command: click.Command = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command of the tree by its words, groups included."""
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None, f"{' '.join(path)} lists {name} and has it not"
            yield from commands(found, (*path, name))


TREE = dict(commands())


def examples(help_text: str) -> list[str]:
    """The lines after "Example:" or "Examples:"."""
    _, _, after = help_text.replace("Examples:", "Example:").partition("Example:")
    return [line.strip() for line in after.split("\n\n")[0].splitlines() if line.strip()]


@pytest.mark.parametrize("words", TREE)
def test_help_says_what_the_command_does_and_shows_an_example_of_it(words: str) -> None:
    shown = CliRunner().invoke(cli, [*words.split(), "--help"])
    assert shown.exit_code == 0, shown.output
    assert (TREE[words].help or "").strip().splitlines()[0].strip(), f"headwater {words} does not say what it does"
    found = examples(shown.output)
    assert found, f"headwater {words} --help has no example"
    for line in found:
        assert shlex.split(line)[: 1 + len(words.split())] == ["headwater", *words.split()], line


@pytest.mark.parametrize("words", [words for words in TREE if words.split()[-1:] == ["list"]])
def test_list_prints_json_for_programs(words: str, settings: Settings) -> None:
    shown = CliRunner().invoke(cli, [*words.split(), "--json"])
    assert shown.exit_code == 0, shown.output
    assert isinstance(json.loads(shown.stdout), list)


def test_all_lists_are_found() -> None:
    assert {words for words in TREE if words.endswith("list")} >= {"models list", "registry list", "jobs list"}
