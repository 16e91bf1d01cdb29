"""Every command in the documentation and in --help is one that this installation has; the cheap ones are run.

A new command in the docs is run here, or its test is named in ELSEWHERE.
"""

import csv
import http.server
import json
import os
import re
import shlex
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from headwater.bundles import Bundle, find_bundle, open_registry, write_bundle
from headwater.cli.main import cli
from headwater.settings import Settings, load_settings
from headwater.storage import jobs
from headwater.storage.engine import open_engine
from headwater.storage.migrations import databases, migrate

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "apps").glob("*/starter/README.md")),
)
HELP_CENTRE = ROOT / "apps/support_bot/sample_data/help_centre"
# Too long to run once more here; the test that runs the same function.
ELSEWHERE = {
    "tune bi-encoder": "tests/unit/tuning/test_bi_encoder.py",
    "tune classify --train 工单.csv": "tests/unit/tuning/test_classify.py",
    "tune classify --train a.csv": "tests/unit/tuning/test_classify.py",
    "tune classify --config": "tests/unit/tuning/test_config.py",
    "support tune-intents": "tests/browser/test_support_dashboard.py",
    "support train-starter": "tests/unit/support_bot/test_starter.py",
    "support fit": "tests/unit/support_bot/test_extraction.py",
    "support prepare": "tests/conftest.py",
    "finance prepare": "tests/apps/test_finance_monitor.py",
    "finance crawl": "tests/apps/test_finance_monitor.py",
    "finance work": "tests/apps/test_finance_monitor.py",
    "finance score": "tests/apps/test_finance_monitor.py",
    "finance alerts": "tests/apps/test_finance_monitor.py",
    "finance replay": "tests/apps/test_finance_monitor.py",
    "finance train-starter": "tests/apps/test_finance_monitor.py",
    "finance tune": "tests/unit/finance_monitor/test_tuning_on_labels.py",
    "models fetch": "tests/unit/models/test_fetch.py",
    "run": "tests/browser/test_support_dashboard.py",
    "setup": "tests/browser/test_support_dashboard.py",
    "serve": "tests/apps/test_gateway.py",
}
# Variables that are the tools' own, not Headwater's.
FOREIGN_VARIABLES = {"PIP_INDEX_URL", "HF_ENDPOINT", "HF_TOKEN"}
JOB_ID = "00661057bf2c636713bbf96"


@dataclass(frozen=True)
class Line:
    """A command and where it stands; `words` without what comes before `headwater`, `make` or `curl`."""

    place: str
    text: str

    @property
    def words(self) -> list[str]:
        # Angle brackets stand for a value, square ones round what may be left out.
        return [word.strip("[]") for word in shlex.split(self.text.partition("  #")[0])]

    @property
    def variables(self) -> list[str]:
        return [word for word in self.words if re.match(r"[A-Z_]+=", word)]

    @property
    def program(self) -> str:
        return Path(self._bare[0]).name

    @property
    def arguments(self) -> list[str]:
        return self._bare[1:]

    @property
    def _bare(self) -> list[str]:
        rest = self.words
        while re.match(r"[A-Z_]+=", rest[0]):
            rest = rest[1:]
        return rest


COMMAND = re.compile(r"(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(?:headwater|make|curl) \S")


def commands_of_pages() -> list[Line]:
    """Indented or fenced lines and `spans` that begin with a program of ours, line continuations joined."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ") if page.exists() else ""
        spans = re.findall(r"`([^`\n]+)`", text)
        lines = [line.strip() for line in text.splitlines() if line.startswith("    ") or "`" not in line]
        found += [Line(page.name, part) for part in [*lines, *spans] if COMMAND.match(part)]
    return found


def commands_of_help() -> list[Line]:
    return [
        Line(f"headwater {' '.join(path)} --help".replace("  ", " "), line.strip())
        for path, command in tree()
        for line in (command.help or "").splitlines()
        if COMMAND.match(line.strip())
    ]


def tree(command: click.Command = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from tree(found, (*path, name))


LINES = [*commands_of_pages(), *commands_of_help()]
OURS: dict[str, Line] = {}  # each once, where it comes first
for _line in LINES:
    if _line.program == "headwater":
        OURS.setdefault(" ".join(_line.arguments), _line)
RUN_HERE = [
    line
    for line in OURS.values()
    if "--help" not in line.arguments
    and not any(" ".join(line.arguments).startswith(words) for words in ELSEWHERE)
    and not any(word.isupper() or "@V" in word for word in line.arguments)  # NAME, NAME@V: no command to copy
]


def test_the_commands_are_found() -> None:
    assert len(LINES) > 40
    texts = {line.text for line in LINES}
    assert {"make run-app", "headwater doctor", "HEADWATER_DEMO=false make run-app"} <= texts
    assert sum(line.place == "quick-start.zh.md" for line in LINES) >= 6
    assert any(line.program == "curl" for line in LINES)


@pytest.mark.parametrize("line", OURS.values(), ids=lambda line: f"{line.place}: {line.text}")
def test_headwater_command_of_the_docs_parses(line: Line) -> None:
    command: click.Command | None = cli
    context, words = click.Context(cli, info_name="headwater"), list(line.arguments)
    while isinstance(command, click.Group) and not words[0].startswith("-"):
        parent, name = command, words.pop(0)
        command = parent.get_command(context, name)
        assert command is not None, f"{line.place}: there is no {name!r}"
        context = click.Context(command, context, info_name=name)
    try:
        command.make_context(command.name, words, parent=context.parent)
    except click.exceptions.Exit:  # --help
        return
    except click.UsageError as error:
        pytest.fail(f"{line.place}: {line.text}: {error.format_message()}")


def test_each_make_target_and_variable_of_the_docs_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE))
    variables = set(re.findall(r"\$\(([A-Z_]+)\)|^([A-Z_]+) \?=", makefile, re.MULTILINE))
    settings = {f"HEADWATER_{name.upper()}" for name in Settings.model_fields}
    known = {name for pair in variables for name in pair} | settings | FOREIGN_VARIABLES
    found = [line for line in LINES if line.program == "make"]
    assert {line.arguments[0] for line in found} - targets == set()
    for line in found:
        for assignment in [*line.variables, *line.arguments[1:]]:
            name, _, value = assignment.partition("=")
            assert name in known, f"{line.place}: {line.text}: nothing reads {name}"
            if name in ("BENCH", "NAME") and not value.startswith("<"):
                folder = {"BENCH": "benchmarks", "NAME": "soak"}[name]
                assert (ROOT / "tests" / folder / f"{value.replace('-', '_')}.py").exists(), line.text


def test_each_setting_of_the_docs_exists() -> None:
    known = {f"HEADWATER_{name.upper()}" for name in Settings.model_fields}
    for page in PAGES:
        named = set(re.findall(r"HEADWATER_[A-Z_]*[A-Z]", page.read_text(encoding="utf-8")))
        assert named - known == set(), page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_relative_link_and_picture_of_a_page_exists(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_each_test_that_stands_for_a_command_exists() -> None:
    assert {path for path in ELSEWHERE.values() if not (ROOT / path).exists()} == set()
    unused = [words for words in ELSEWHERE if not any(" ".join(i.arguments).startswith(words) for i in OURS.values())]
    assert unused == []


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A web site with a sitemap of one page, instead of the docs' example.com."""

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = f"http://127.0.0.1:{self.server.server_port}"
            is_map = self.path.endswith(".xml")
            page = "<html><body><main><h1>Zips</h1><p>We repair zips in Keswick for 18 pounds.</p></main></body></html>"
            body = f"<urlset><url><loc>{host}/zips</loc></url></urlset>" if is_map else page
            self.send_response(200)
            self.send_header("Content-Type", "application/xml" if is_map else "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def folder(shop_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a reader of the docs stands in: files by the names that the docs use, beside the state."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("handbook.pdf", "手册.pdf"):
        shutil.copy(HELP_CENTRE / "en" / "size-guide.pdf", folder / name)
    for name in ("faq.csv", "常见问题.csv"):
        shutil.copy(HELP_CENTRE / "en" / "faq.csv", folder / name)
    for name in ("pages", "help-centre"):
        (folder / name).mkdir()
        (folder / name / "zips.md").write_text("# Zips\n\nWe repair zips in Keswick for 18 pounds.\n")
    questions = (HELP_CENTRE.parent / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / "questions.jsonl").write_text("\n".join(questions[:3]), encoding="utf-8")
    rows = [(f"my parcel number {i} is late", "delivery") for i in range(10)]
    rows += [(f"my money of order {i} shall come back", "refund") for i in range(10)]
    for name, columns in (
        *(("tickets.csv", ("body", "queue")), ("other.csv", ("body", "queue"))),
        *(("gate.csv", ("text", "label")), ("测试.csv", ("内容", "类别"))),
        ("companies.csv", ("ticker", "name")),
        *(("test.csv", ("text", "label", "intent")), ("pairs.csv", ("question", "page"))),
    ):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows((*row, "delivery_time")[: len(columns)] for row in rows)
    return folder


@pytest.mark.models
@pytest.mark.parametrize("line", RUN_HERE, ids=lambda line: line.text)
def test_command_of_the_docs_does_what_it_is_shown_for(
    line: Line,
    folder: Path,
    shop_home: Path,
    address: str,
    word_classifier: Callable[..., Bundle],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Run as its reader would, in the order of the docs; what it needs (files, runs, versions, a job) is there."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HEADWATER_HOME", str(shop_home))
    monkeypatch.setenv("HEADWATER_ALLOW_PRIVATE_URLS", "true")
    monkeypatch.delenv("HEADWATER_DATABASE_URL", raising=False)
    settings = load_settings()
    house = open_engine(settings, "house")
    registry = open_registry(settings, house)

    def tuned(name: str, votes: float) -> Path:
        words = {"parcel": (votes, 0.0), "money": (0.0, votes)}
        bundle = word_classifier(name, words, ("delivery", "refund"))
        shutil.copytree(bundle.path, folder / "runs" / name / "bundle")
        return folder / "runs" / name

    if not (folder / "runs").exists():
        for name in databases():  # the sample shop's home was made by one app alone
            migrate(open_engine(settings, name), name)
        tuned("tickets", 4.0)
        for name, votes in (("intents", 5.0), ("better", 6.0)):
            registry.add("my-intents", find_bundle(str(tuned(name, votes)), settings), actor="test")
        registry.set_production("my-intents", 1, expected=None, actor="test")
        present = registry.resolve("support-intents-en")
        encoder = registry.resolve("support-encoder-en")
        shutil.copytree(encoder.path, folder / "runs" / "search" / "bundle", copy_function=os.link)
        (folder / "note.txt").write_text("another bundle with the same model\n")
        files = {name: present.file(name) for name in present.manifest.files} | {"note.txt": folder / "note.txt"}
        registry.add("support-intents-en", write_bundle(folder / "again", present.manifest, files), actor="test")
    job = jobs.submit(house, "house", ["doctor"], actor="test") if JOB_ID in line.arguments else None
    if job is not None:
        (settings.home / job.log).parent.mkdir(parents=True, exist_ok=True)
        (settings.home / job.log).write_text("all is well\n")
        if "watch" in line.arguments:
            while (claimed := jobs.claim(house, "test", light_slots=99)) is not None:
                jobs.finish(house, claimed.id, "done", "done")
    words = [re.sub(r"https://(help\.)?example\.com", address, word) for word in line.arguments]
    done = CliRunner().invoke(cli, [word.replace(JOB_ID, job.id) if job else word for word in words])
    assert done.exit_code == 0, f"{line.place}: {line.text}\n{done.output}\n{done.exception!r}"
    assert done.output.strip()
    assert "not read" not in done.output


@pytest.mark.models
def test_question_of_the_readme_is_answered_over_http(shop_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.app import create_app

    (line,) = {line.text: line for line in LINES if line.program == "curl"}.values()
    options = dict(zip(line.arguments, line.arguments[1:], strict=False))
    (url,) = [word for word in line.arguments if word.startswith("http://127.0.0.1:8000/")]
    monkeypatch.setenv("HEADWATER_HOME", str(shop_home))
    monkeypatch.delenv("HEADWATER_DATABASE_URL", raising=False)
    with TestClient(create_app(load_settings())) as client:
        while client.get("/readyz").status_code != 200:
            threading.Event().wait(0.1)
        reply = client.post(
            url.removeprefix("http://127.0.0.1:8000"), content=options["-d"], headers=dict([options["-H"].split(": ")])
        )
    assert reply.status_code == 200, reply.text
    assert reply.json()["citations"], json.dumps(reply.json())
