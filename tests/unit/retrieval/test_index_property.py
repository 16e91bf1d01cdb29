"""The index property at the size that fits; `make soak NAME=index` runs the full one."""

import importlib.util
from pathlib import Path

STEPS = 600


def test_no_hit_is_stale_or_lost_after_random_changes_and_kills(tmp_path: Path, capsys) -> None:
    path = Path(__file__).resolve().parents[2] / "soak" / "index.py"
    spec = importlib.util.spec_from_file_location("soak_index", path)
    assert spec and spec.loader
    soak = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(soak)
    counts = soak.run(STEPS, 7, tmp_path)
    with capsys.disabled():
        print(f"\nindex property: {STEPS} of {soak.FULL:,} steps, {counts}")
    assert counts["kill"] > 0
