"""The report of a bi-encoder: report.md with the base model's scores beside the tuned ones."""

from pathlib import Path
from typing import Any

from headwater.tuning.report.classification import draw_curve


def write_report(folder: Path, content: dict[str, Any]) -> None:
    """Write report.md and curve.png into the run folder."""
    draw_curve(folder / "curve.png", content["curve"])
    (folder / "report.md").write_text(_text(content), encoding="utf-8")


def _text(content: dict[str, Any]) -> str:
    lines = ["# Bi-encoder report", ""]
    for part, scores in content["metrics"].items():
        lines += [
            f"## {part.capitalize()}: {scores['queries']} queries against {scores['passages']} passages",
            "",
            "| metric | base model | tuned (95 % interval) |",
            "|---|---|---|",
        ]
        for name in ("ndcg@10", "mrr@10", "recall@5"):
            tuned = scores[name]
            lines.append(
                f"| {name} | {scores['base'][name]:.4f} | "
                f"{tuned['value']:.4f} ({tuned['low']:.4f} to {tuned['high']:.4f}) |"
            )
        lines.append("")
    return "\n".join([*lines, "![Training curve](curve.png)"]) + "\n"
