"""The figures of the README are those that the benchmarks wrote."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_table_of_the_readme_is_made_from_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "benchmarks"))
    figures = importlib.import_module("figures")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert figures.written_into(readme) == readme, "write it anew: python tests/benchmarks/figures.py"
