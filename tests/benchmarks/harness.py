"""What every benchmark shares: rows with their bars, a printed table, and one JSON file a benchmark."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
QUICK = bool(os.environ.get("QUICK"))
_PACKAGES = ("torch", "transformers", "sentence-transformers", "onnxruntime", "faiss-cpu", "bm25s", "numpy")


@dataclass(frozen=True)
class Row:
    """One figure. `must` is the bar; `better` says which side of it is good; `met` follows from them."""

    metric: str
    value: float
    unit: str = ""
    better: str = "higher"
    low: float | None = None
    high: float | None = None
    language: str = ""
    rival: str = ""
    rival_value: float | None = None
    must: float | None = None

    @property
    def met(self) -> bool | None:
        if self.must is None:
            return None
        return self.value >= self.must if self.better == "higher" else self.value <= self.must


@dataclass
class Benchmark:
    """A benchmark in progress: `add` prints each row as it comes, `write` keeps all of them."""

    name: str
    protocol: str
    data: str = ""
    seeds: Sequence[int] = ()
    rows: list[Row] = field(default_factory=list)
    started: float = field(default_factory=time.time)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        print(_line(row), flush=True)

    def write(self) -> Path:
        """Write build/bench/NAME.json, and docs/results/NAME.json when the run was a full one."""
        content = {
            "name": self.name,
            "protocol": self.protocol + (" (QUICK: smaller, not a result)" if QUICK else ""),
            "seeds": list(self.seeds),
            "data": self.data,
            "commit": _commit(),
            "versions": dict(_versions()),
            "cpu": _processor(),
            "seconds": round(time.time() - self.started, 1),
            "rows": [{**asdict(row), "met": row.met} for row in self.rows],
        }
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        path = ROOT / "build" / "bench" / f"{self.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if not QUICK:
            (ROOT / "docs" / "results" / path.name).write_text(text, encoding="utf-8")
        print(f"\n{self.name}: {content['seconds']} s, {path.relative_to(ROOT)}")
        return path


def done_rows(path: Path) -> dict[str, Any]:
    """Rows that an interrupted long benchmark kept, by key."""
    return json.loads(path.read_text()) if path.exists() else {}


def keep_row(path: Path, key: str, value: Any) -> None:
    """Keep one finished row of a long benchmark, so that it goes on where it stopped."""
    rows = done_rows(path)
    rows[key] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(rows))
    partial.replace(path)


def median_ratio(ours: Sequence[float], rival: Sequence[float]) -> tuple[float, float, float]:
    """(median, least, largest) of rival / ours, pair by pair: how many times faster ours is."""
    ratios = sorted(b / a for a, b in zip(ours, rival, strict=True))
    return ratios[len(ratios) // 2], ratios[0], ratios[-1]


def _line(row: Row) -> str:
    interval = f" [{row.low:.4g}, {row.high:.4g}]" if row.low is not None and row.high is not None else ""
    rival = f"   {row.rival}: {row.rival_value:.4g}" if row.rival_value is not None else ""
    bar = (
        ""
        if row.must is None
        else f"   must {'≥' if row.better == 'higher' else '≤'} {row.must:g}: {'met' if row.met else 'NOT MET'}"
    )
    language = f" ({row.language})" if row.language else ""
    return f"{row.metric + language:52s} {row.value:.4g}{interval} {row.unit}{rival}{bar}"


def _versions() -> Iterable[tuple[str, str]]:
    yield "python", platform.python_version()
    for package in _PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor()
    return f"{name}, {os.cpu_count()} cores"


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
