"""docs/architecture.md names only what the code has: modules, functions, their parameters, classes, entry points."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
# What a name may begin at: the section's own package, an app (what an app defines for it), with dots also the library.
APP, LIBRARY = ROOT / "apps" / "support_bot", ROOT / "shared" / "headwater"
NAME = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
FILES = (".json", ".safetensors", ".py", ".toml", ".onnx", ".token", ".md")
FOREIGN = {"SQLite", "PostgreSQL", "HeadwaterErrors", "LoRA"}


def sections() -> dict[str, str]:
    """The contracts block by its headings ("headwater.data", "gateway")."""
    block = PAGE.split("## Contracts between the parts")[1].split("\nA bundle holds")[0]
    parts = re.split(r"^ {4}(\w[\w.]*)[^\n]*\n", block, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


SECTIONS = sections()


def folder_of(section: str) -> Path:
    return ROOT / "services" / section if "." not in section else ROOT / "shared" / section.replace(".", "/")


@cache
def definitions(path: Path) -> dict[str, set[str]]:
    """Everything that a module or package defines, at whatever depth, with the parameters or fields of each."""
    found: dict[str, set[str]] = {}
    for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.setdefault(node.name, set()).update(parameters(node))
            elif isinstance(node, ast.ClassDef):
                made = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
                fields = {
                    i.target.id for i in node.body if isinstance(i, ast.AnnAssign) and isinstance(i.target, ast.Name)
                }
                found.setdefault(node.name, set()).update(fields, *(parameters(item) for item in made))
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = {
                    t.id if isinstance(t, ast.Name) else t.attr
                    for t in targets
                    if hasattr(t, "id") or hasattr(t, "attr")
                }
                for name in names:
                    found.setdefault(name, set())
    return found


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    arguments = function.args
    return {argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)} - {"self"}


def resolve(name: str, package: Path, *, is_call: bool = False) -> set[str] | None:
    """The parameters of what `name` (dotted: module or class first) means; None when there is no such thing."""
    *way, last = name.split(".")
    for start in (package, APP, LIBRARY) if way else (package, APP):
        place = start
        for step in way:
            deeper = place / step if (place / step).is_dir() else (place / step).with_suffix(".py")
            place = deeper if deeper.exists() or place.is_dir() else place  # a class: its module holds the method too
        if not place.exists():
            continue
        if last in definitions(place):
            return definitions(place)[last]
        if not is_call and ((place / last).is_dir() or (place / f"{last}.py").exists()):
            return set()
    return None


def calls(text: str) -> Iterator[tuple[str, str | None]]:
    """(name, what stands in its parentheses; None when that is nested)."""
    for match in re.finditer(rf"({NAME})\(", text):
        inside = re.match(r"([^()]*)\)", text[match.end() :])
        yield match.group(1), inside.group(1) if inside else None


@pytest.mark.parametrize("section", SECTIONS)
def test_each_call_in_the_contracts_is_one_that_the_code_takes(section: str) -> None:
    package = folder_of(section)
    assert package.is_dir()
    wrong = []
    for name, inside in calls(SECTIONS[section]):
        known = resolve(name, package, is_call=True)
        if known is None:
            wrong.append(f"{name} is not defined in {section}")
            continue
        for part in (inside or "").split(","):
            argument = part.strip().partition("=")[0]
            if argument.isidentifier() and argument not in known:
                wrong.append(f"{name} has no {argument}; it has {sorted(known)}")
    assert wrong == []


@pytest.mark.parametrize("section", SECTIONS)
def test_each_other_name_in_the_contracts_exists(section: str) -> None:
    package = folder_of(section)
    settings = {name for known in definitions(package).values() for name in known}
    external = {alias.name for file in package.rglob("*.py") for node in ast.walk(ast.parse(file.read_text()))
                if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}  # fmt: skip
    groups = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"])
    unknown = []
    for name in re.findall(rf"(?<![\w/.-]){NAME}(?![\w/(])", re.sub(r'"[^"]*"', "", SECTIONS[section])):
        is_code = "_" in name or "." in name or re.search(r"[a-z][A-Z]", name)
        if not is_code or name.endswith(FILES) or name in FOREIGN | groups | settings | external:
            continue
        if resolve(name, package) is None:
            unknown.append(name)
    assert unknown == []


def test_each_dotted_name_and_path_of_the_rest_exists() -> None:
    block = "\n".join(SECTIONS.values())
    spans = [span for span in re.findall(r"`([^`\n]+)`", PAGE) if span not in block]
    for span in spans:
        if re.fullmatch(r"headwater(\.\w+)+", span) and not span.endswith(FILES):
            assert resolve(span.removeprefix("headwater."), LIBRARY) is not None, span
        elif "/" in span and " " not in span and span.split("/")[0] in ("apps", "shared", "services", "docs", "tests"):
            assert list(ROOT.glob(span)), span


def test_layers_of_the_page_are_those_that_the_linter_holds() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    drawn = PAGE.split("see `pyproject.toml`):")[1].split("\n\n")[1]
    assert re.sub(r"\s+", " ", drawn).strip() == " → ".join(layers).replace("headwater.", "")


def test_a_name_that_the_code_has_not_is_found() -> None:
    package = folder_of("headwater.release")
    assert resolve("gate", package) is not None  # the module
    assert resolve("gate", ROOT / "shared" / "headwater" / "models", is_call=True) is None
    for name in ("oos_metrics", "gate.promote", "catalog.listing", "storage.users.User.hop"):
        assert resolve(name, package) is None, name
    assert resolve("storage.users.User.may", package) == {"role"}
