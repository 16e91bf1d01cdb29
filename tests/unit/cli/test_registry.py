"""`headwater registry list`, where there is nothing to show."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner

from headwater.bundles import Bundle, open_registry
from headwater.cli.main import cli
from headwater.errors import NotFound
from headwater.settings import Settings
from headwater.storage.engine import open_engine


def test_empty_registry_says_so_and_how_it_is_filled(settings: Settings) -> None:
    listed = CliRunner().invoke(cli, ["registry", "list"])
    assert (listed.exit_code, listed.stdout) == (0, "")
    assert "no bundles" in listed.stderr and "headwater support prepare" in listed.stderr
    assert "headwater registry add" in listed.stderr
    assert CliRunner().invoke(cli, ["registry", "list", "--json"]).stdout == "[]\n"


@pytest.mark.parametrize("words", [["registry", "list", "nothing"], ["registry", "list", "nothing", "--json"]])
def test_unknown_name_is_an_error_that_names_those_there_are(
    settings: Settings, word_classifier: Callable[..., Bundle], words: list[str]
) -> None:
    with pytest.raises(NotFound, match="no bundle is registered as 'nothing'; registered: none"):
        CliRunner().invoke(cli, words, catch_exceptions=False)
    registry = open_registry(settings, open_engine(settings, "house"))
    registry.add("intents", word_classifier("a", {"hi": "greeting", "no": "denial"}, ["greeting", "denial"]), actor="t")
    with pytest.raises(NotFound, match="registered: intents"):
        CliRunner().invoke(cli, words, catch_exceptions=False)
    assert "intents@1" in CliRunner().invoke(cli, ["registry", "list", "intents"]).stdout
