"""A command that comes over HTTP names files of home/runs only, however it is written."""

from pathlib import Path

import click
import pytest

from gateway.routes.jobs import HOUSE_JOBS
from gateway.submission import MODELS, check_files
from headwater.cli.main import cli
from headwater.errors import HeadwaterError

# Options whose text is no file. A new text option of an open command fails the test below until someone has
# looked: a file or folder is declared as click.Path, a model's name goes into MODELS.
HARMLESS_TEXTS = {
    *("text_column", "label_column", "label_separator", "query_column", "positive_column", "negative_column"),
    *("group_column", "method", "metric", "precision", "out_of_scope"),
}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """home/runs with a colleague's upload, beside what must stay out of reach; the present folder holds more."""
    runs = tmp_path / "home" / "runs"
    (runs / "upload").mkdir(parents=True)
    (runs / "upload" / "examples.csv").write_text("text,label\n")
    (runs / "config.yaml").write_text("train: /etc/passwd\n")
    (runs / "way-out").symlink_to(tmp_path)
    (runs.parent / "admin.token").write_text("secret")
    (tmp_path / "runs-of-others").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "private.csv").write_text("text,label\n")
    monkeypatch.chdir(tmp_path)
    return runs


def test_files_of_the_runs_folder_are_accepted_in_both_forms(runs: Path) -> None:
    data, output = str(runs / "upload" / "examples.csv"), str(runs / "new")
    check_files(["tune", "classify", "--train", data, "--output", output, "--base", "multilingual"], runs)
    check_files(["tune", "classify", f"--train={data}", f"--output={output}", f"--base={runs / 'upload'}"], runs)
    check_files(["evaluate", "support-intents-en@2", "--data", data, "--text-column", "a/b", "--json"], runs)
    check_files(["support", "tune-intents", f"--examples={data}", "--output", output], runs)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "{runs}/../admin.token",
        "{runs}/../../private.csv",
        "{runs}/way-out/private.csv",
        "{runs}-of-others/x.csv",
        "{runs}",
        "{home}/admin.token",
        "private.csv",
        "home/runs/upload/examples.csv",
        "./private.csv",
        "~/.bashrc",
        "-",
        "",
    ],
)
@pytest.mark.parametrize(
    "words",
    [
        ["tune", "classify", "--train", "{path}"],
        ["tune", "classify", "--train={path}"],
        ["tune", "classify", "--valid={path}"],
        ["tune", "classify", "--test", "{path}"],
        ["tune", "bi-encoder", "--output={path}"],
        ["tune", "classify", "--base", "{path}"],
        ["tune", "classify", "--base={path}"],
        ["evaluate", "my-intents", "--data", "{path}"],
        ["evaluate", "--data", "{runs}/upload/examples.csv", "--", "{path}"],
        ["support", "tune-intents", "--output", "{runs}/new", "--examples={path}"],
        ["support", "tune-intents", "--output={path}", "--examples", "{runs}/upload/examples.csv"],
    ],
)
def test_path_outside_the_runs_folder_is_refused_wherever_it_stands(runs: Path, words: list[str], path: str) -> None:
    place = path.format(runs=runs, home=runs.parent)
    with pytest.raises(HeadwaterError, match=r"is outside of .*runs, the only folder"):
        check_files([word.format(path=place, runs=runs) for word in words], runs)


@pytest.mark.parametrize("words", [["--base", "model"], ["--base=model"], ["--base", "organisation/model"]])
def test_base_that_names_a_folder_outside_or_a_hubs_model_is_refused(runs: Path, words: list[str]) -> None:
    with pytest.raises(HeadwaterError, match=r"name a catalog model, a registered NAME\[@VERSION\]"):
        check_files(["tune", "classify", *words], runs)


@pytest.mark.parametrize("task", ["classify", "bi-encoder"])
@pytest.mark.parametrize("form", [["--config", "{file}"], ["--config={file}"]])
def test_config_file_is_refused_even_inside_the_runs_folder(runs: Path, task: str, form: list[str]) -> None:
    words = [word.format(file=runs / "config.yaml") for word in form]
    with pytest.raises(HeadwaterError, match="--config cannot be used over HTTP; give each of its keys as an option"):
        check_files(["tune", task, *words, "--output", str(runs / "new")], runs)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["tune", "classify", "--conf", "x"], "No such option"),
        (["tune", "classify", "--conf=x"], "No such option"),
        (["tune", "--config", "x", "classify"], "there is no command '--config'"),
        (["tune", "no-such-task"], "there is no command 'no-such-task'.*classify"),
        (["tune"], "there is no command ''"),
        (["tune", "classify", "--help"], "No such option"),
        (["tune", "classify", "--train", "/x/\0"], "has a character that no command takes"),
        (["tune", "classify", "--train", "/x/\ud800"], "has a character that no command takes"),
        (["tune", "classify", "/etc/passwd"], "unexpected extra argument"),
        (["evaluate", "my-intents"], "Missing option '--data'"),
    ],
)
def test_words_that_are_no_command_are_refused_before_they_become_a_job(
    runs: Path, words: list[str], reason: str
) -> None:
    with pytest.raises(HeadwaterError, match=reason):
        check_files(words, runs)


def test_every_text_option_of_an_open_command_is_known_to_be_a_file_a_model_or_harmless() -> None:
    found = set()
    for job in (*HOUSE_JOBS, ("support", "tune-intents")):
        command: click.Command | None = cli
        for word in getattr(job, "words", job):
            assert isinstance(command, click.Group)
            command = command.get_command(click.Context(command), word)
        assert command is not None
        found |= {p.name for p in parameters(command) if p.type is click.STRING}
    assert found <= HARMLESS_TEXTS | MODELS


def parameters(command: click.Command) -> list[click.Parameter]:
    if not isinstance(command, click.Group):
        return command.params
    context = click.Context(command)
    commands = [command.get_command(context, name) for name in command.list_commands(context)]
    return [p for sub in commands if sub is not None for p in parameters(sub)]
