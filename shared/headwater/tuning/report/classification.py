"""The report of a classifier: report.md with pictures of confusion and calibration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headwater.data import LabelSpace, TextExample
from headwater.evaluation import confident_mistakes, reliability

_SHOWN_MISTAKES = 25
_ANNOTATED = 30  # above this many labels the cells of the confusion matrix carry no numbers


def write_report(
    folder: Path, content: dict[str, Any], examples: Sequence[TextExample], part: str, space: LabelSpace
) -> None:
    """Write report.md and its pictures into the run folder; takes the arrays out of `content` (report.json)."""
    for scores in content["scores"].values():
        arrays = scores.pop("probabilities", None), scores.pop("true", None)
        if scores is content["scores"][part] and arrays[0] is not None:
            mistakes = confident_mistakes(arrays[1], arrays[0], space, _SHOWN_MISTAKES)
            scores["mistakes"] = [
                {**m.__dict__, "source": examples[m.index].source, "text": examples[m.index].text} for m in mistakes
            ]
            confidence, right = arrays[0].max(1), arrays[0].argmax(1) == arrays[1]
            scores["reliability"] = [bin_.__dict__ for bin_ in reliability(confidence, right)]
            _draw_reliability(folder / "reliability.png", scores)
    report = content["scores"][part]["report"]
    if report["confusion"]:
        _draw_confusion(folder / "confusion.png", np.array(report["confusion"]), space.names)
    draw_curve(folder / "curve.png", content["curve"])
    (folder / "report.md").write_text(_text(content, part), encoding="utf-8")


def _text(content: dict[str, Any], part: str) -> str:
    scores = content["scores"][part]
    accuracy = scores["accuracy"]
    lines = [f"# Classification report ({part}, {scores['examples']} examples)", ""]
    lines.append(f"Accuracy {accuracy['value']:.4f} (95 % interval {accuracy['low']:.4f} to {accuracy['high']:.4f}).")
    if "calibration_error" in scores:
        lines.append(f"Expected calibration error {scores['calibration_error']:.4f}.")
    if "scope" in scores:
        scope = scores["scope"]
        lines.append(
            f"Out of scope, at threshold {scope['threshold']:.3f}: in-scope accuracy {scope['in_scope_accuracy']:.4f}, "
            f"recall {scope['out_of_scope_recall']:.4f}, precision {scope['out_of_scope_precision']:.4f}."
        )
    lines += ["", "| class | precision | recall | F1 | support |", "|---|---|---|---|---|"]
    report = scores["report"]
    rows = list(report["per_class"].items()) + [(name, report[name]) for name in ("micro", "macro", "weighted")]
    lines += [
        f"| {name} | {s['precision']:.3f} | {s['recall']:.3f} | {s['f1']:.3f} | {s['support']} |" for name, s in rows
    ]
    if report["confusion"]:
        lines += ["", "![Confusion matrix](confusion.png)"]
    if "reliability" in scores:
        lines += ["", "![Reliability](reliability.png)"]
    lines += ["", "![Training curve](curve.png)"]
    if scores.get("mistakes"):
        lines += [
            "",
            "## Most confident mistakes",
            "",
            "| true | predicted | probability | text |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {m['true']} | {m['predicted']} | {m['probability']:.3f} | {_cell(m['text'])} |"
            for m in scores["mistakes"]
        ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:160]


def _figure(width: float, height: float) -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcParams["font.family"] = ["DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP"]
    return pyplot.subplots(figsize=(width, height), dpi=110, layout="constrained")


def _save(figure: Any, path: Path) -> None:
    import logging

    from matplotlib import pyplot

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # a missing fallback font is no news
    figure.savefig(path)
    pyplot.close(figure)


def _draw_confusion(path: Path, confusion: Any, names: Sequence[str]) -> None:
    size = min(24.0, 3.5 + 0.28 * len(names))
    figure, axes = _figure(size + 1, size)
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    font = max(4.5, min(9.0, 260 / max(len(names), 1)))
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=font)
    axes.set_yticks(range(len(names)), names, fontsize=font)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for row, column in zip(*np.nonzero(confusion), strict=True):
        if len(names) <= _ANNOTATED or row != column:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, confusion[row, column], ha="center", va="center", fontsize=font * 0.8, color=colour)
    figure.colorbar(image, ax=axes, shrink=0.6, label="share of the true class")
    _save(figure, path)


def _draw_reliability(path: Path, scores: dict[str, Any]) -> None:
    figure, axes = _figure(5, 4.5)
    bins = scores["reliability"]
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--")
    sizes = [20 + 200 * b["count"] / scores["examples"] for b in bins]
    axes.scatter([b["confidence"] for b in bins], [b["accuracy"] for b in bins], s=sizes, color="#1f6fb2", alpha=0.8)
    axes.plot([b["confidence"] for b in bins], [b["accuracy"] for b in bins], color="#1f6fb2", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="probability said", ylabel="share right")
    axes.set_title(f"expected calibration error {scores['calibration_error']:.3f}", fontsize=10)
    _save(figure, path)


def draw_curve(path: Path, curve: dict[str, Any]) -> None:
    """Training loss and validation metric by epoch, the best epoch marked."""
    figure, axes = _figure(6, 3.5)
    epochs = range(1, len(curve["loss"]) + 1)
    axes.plot(epochs, curve["loss"], color="#b2541f", marker="o", label="training loss")
    axes.set(xlabel="epoch", ylabel="training loss")
    axes.set_xticks(list(epochs))
    other = axes.twinx()
    other.plot(epochs, curve["metric"], color="#1f6fb2", marker="o", label="validation metric")
    other.set_ylabel("validation metric")
    other.axvline(curve["best_epoch"], color="#999999", linestyle=":", linewidth=1)
    figure.legend(loc="outside upper center", ncols=2, fontsize=9)
    _save(figure, path)
