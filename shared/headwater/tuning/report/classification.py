"""The report of a classifier: report.md with pictures of confusion and calibration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headwater.data import LabelSpace, TextExample
from headwater.evaluation import confident_label_mistakes, confident_mistakes, reliability

_SHOWN_MISTAKES = 25
_ANNOTATED = 30  # above this many labels the cells of the confusion matrix carry no numbers


def write_report(
    folder: Path, content: dict[str, Any], examples: Sequence[TextExample], part: str, space: LabelSpace
) -> None:
    """Write report.md and its pictures into the run folder; takes the arrays out of `content` (report.json)."""
    for scores in content["scores"].values():
        probabilities, true, predicted = (scores.pop(name) for name in ("probabilities", "true", "predicted"))
        if scores is content["scores"][part]:
            if space.multi_label:
                mistakes = confident_label_mistakes(true, probabilities, predicted, space, _SHOWN_MISTAKES)
                confidence, right = probabilities.ravel(), true.ravel() > 0.5  # every decision on a label is a point
            else:
                mistakes = confident_mistakes(true, probabilities, space, _SHOWN_MISTAKES)
                confidence, right = probabilities.max(1), probabilities.argmax(1) == true
            scores["mistakes"] = [
                {**m.__dict__, "source": examples[m.index].source, "text": examples[m.index].text} for m in mistakes
            ]
            scores["reliability"] = [bin_.__dict__ for bin_ in reliability(confidence, right)]
            _draw_reliability(folder / "reliability.png", scores)
    report = content["scores"][part]["report"]
    if report["confusion"]:
        _draw_confusion(folder / "confusion.png", np.array(report["confusion"]), space.names)
    draw_curve(folder / "curve.png", content["curve"])
    (folder / "report.md").write_text(_text(content, part), encoding="utf-8")


def _text(content: dict[str, Any], part: str) -> str:
    scores = content["scores"][part]
    lines = [f"# Classification report ({part}, {scores['examples']} examples)", ""]
    names = {"accuracy": "Accuracy", "micro_f1_interval": "Micro F1", "macro_f1_interval": "Macro F1"}
    if "exact_match" in scores:
        names = {**names, "exact_match": "All labels of a text right"}
    else:
        names.pop("micro_f1_interval")  # with one label a text it is the accuracy
    for key, name in names.items():
        if key in scores:
            found = scores[key]
            lines.append(f"{name} {found['value']:.4f} (95 % interval {found['low']:.4f} to {found['high']:.4f}).")
    mean = ", the mean of the labels" if "exact_match" in scores else ""
    lines.append(f"Expected calibration error {scores['calibration_error']:.4f}{mean}.")
    if "scope" in scores:
        scope = scores["scope"]
        lines.append(
            f"Out of scope, at threshold {scope['threshold']:.3f}: in-scope accuracy {scope['in_scope_accuracy']:.4f}, "
            f"recall {scope['out_of_scope_recall']:.4f}, precision {scope['out_of_scope_precision']:.4f}."
        )
    lines += ["", *_class_table(scores["report"])]
    report = scores["report"]
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
            f"| {_cell(m['true'])} | {_cell(m['predicted'])} | {m['probability']:.3f} | {_cell(m['text'])} |"
            for m in scores["mistakes"]
        ]
    return "\n".join(lines) + "\n"


def _class_table(report: dict[str, Any]) -> list[str]:
    """Scores of each class with the interval of its F1, and of a multi-label model its calibration error."""
    errors = report.get("calibration_errors", {})
    more = ("calibration error",) if errors else ()
    columns = ("class", "precision", "recall", "F1", "95 % interval", "support", *more)
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    rows = list(report["per_class"].items()) + [(name, report[name]) for name in ("micro", "macro", "weighted")]
    for row, (name, s) in enumerate(rows):
        own = row < len(report["per_class"])  # a class may be called "micro"
        interval = report["f1_intervals"].get(name) if own else None
        cells = [_cell(name), *(f"{s[key]:.3f}" for key in ("precision", "recall", "f1"))]
        cells += [f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "", str(s["support"])]
        cells += [f"{errors[name]:.3f}" if own else ""] if errors else []
        lines.append(f"| {' | '.join(cells)} |")
    return lines


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
    total = sum(b["count"] for b in bins)
    sizes = [20 + 200 * b["count"] / total for b in bins]
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
