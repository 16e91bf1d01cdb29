"""Kills of the monitor's worker at the size that fits; `make soak NAME=finance-kills` runs the full one."""

import importlib.util
import sys
from pathlib import Path

import pytest

KILLS = 6


def test_no_article_and_no_alert_is_lost_or_doubled_by_kills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(__file__).resolve().parents[2] / "soak" / "finance_kills.py"
    spec = importlib.util.spec_from_file_location("soak_finance_kills", path)
    assert spec and spec.loader
    soak = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = soak  # dataclasses look their module up
    spec.loader.exec_module(soak)
    counts = soak.run(KILLS, 7, tmp_path)
    with capsys.disabled():
        print(f"\nfinance kills: {KILLS} of {soak.FULL}, {counts}")
    assert sum(counts["kills"].values()) == KILLS
