"""The table of figures in the README, made from docs/results: `python tests/benchmarks/figures.py` writes it anew."""

import json
from dataclasses import dataclass

from harness import ROOT

README = ROOT / "README.md"
RESULTS = ROOT / "docs" / "results"
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"


@dataclass(frozen=True)
class Figure:
    """A row of the table: where its value lies, what it is in plain words, and its bar there if it has one."""

    benchmark: str
    metric: str
    words: str
    language: str = ""
    form: str = "{:.3f}"


SHOWN = (
    Figure("intent-banking77", "accuracy, full", "Banking77, 77 intents: accuracy", "en"),
    Figure("intent-banking77", "accuracy, 10-shot, mpnet", "… from 10 examples an intent (mpnet)", "en"),
    Figure("intent-banking77", "training time, full", "… time to tune it on two cores", form="{:.1f} min"),
    Figure("oos-clinc150", "in-scope accuracy, 100", "CLINC150, 150 intents: accuracy in scope", "en"),
    Figure("oos-clinc150", "out-of-scope recall, 100", "… recall of questions out of scope", "en"),
    Figure("docs-scifact", "ndcg@10, hybrid, ", "SciFact, claim → abstract: nDCG@10, hybrid", "en"),
    Figure("docs-xquad-zh", "recall@1, hybrid, ", "XQuAD, Chinese question → paragraph: recall@1", "zh"),
    Figure("docs-xquad-zh", "recall@5, hybrid, multilingual", "XQuAD, English: recall@5", "en"),
    Figure(
        "inference",
        "minilm, single query, speed-up",
        "One text, against sentence-transformers in torch",
        "en",
        "{:.1f}×",
    ),
    Figure("inference", "multilingual, single query, speed-up", "… multilingual, Chinese", "zh", "{:.1f}×"),
    Figure("inference", "minilm, batch of paragraphs, speed-up", "Paragraphs in a batch", "en", "{:.1f}×"),
    Figure(
        "train-throughput",
        "speed-up over transformers.Trainer, defaults",
        "Tuning, beside transformers.Trainer",
        "en",
        "{:.1f}×",
    ),
    Figure("retrieval-scale", "1,000,000 (cells): recall@10", "A million passages: recall@10 beside exact search"),
    Figure("retrieval-scale", "1,000,000 (cells): p95", "… 95 % of searches within", form="{:.1f} ms"),
    Figure(
        "support-load",
        "extracted, p95, 4 clients",
        "4 customers at once, 95 % of cited answers within",
        form="{:.0f} ms",
    ),
    Figure("support-load", "mixed, throughput, 4 clients", "… answers a second", form="{:.0f}"),
    Figure("start", "headwater run, until the first answer", "Second start, until the first answer", form="{:.1f} s"),
    Figure("start", "gateway, resident memory after 50", "Memory of the server after 50 questions", form="{:.0f} MB"),
    Figure("extraction", "F1", "Article text out of web pages: F1"),
    Figure("stories", "adjusted Rand index", "Articles grouped into stories: adjusted Rand index"),
    Figure(
        "surges",
        "recall at × 4, usual ≥ 5 (119 injections); windowed Gaussian at 2",
        "Surges of 4 × a usual rate of five or more a day, found",
    ),
    Figure("surges", "false alerts", "… false alerts in 100 entity-weeks", form="{:.1f}"),
    Figure("misreads", "pairs right, all", "Headlines that wording turns round, pairs right", "en"),
    Figure("misreads", "pairs right, all", "… Chinese", "zh"),
    Figure("bias", "label moves, all", "Labels that a swapped name, country or gender moves", "en"),
    Figure("bias", "label moves, all", "… Chinese", "zh"),
    Figure("sentiment-fpb", "starter, macro F1, 50Agree", "Financial PhraseBank, never seen: macro F1", "en"),
    Figure("sentiment-zh", "accuracy, tuned on", "Chinese company headlines, tuned on: accuracy", "zh"),
    Figure("fetch-to-alert", "page served to alert, p95", "Article fetched → alert sent, 95 % within", form="{:.1f} s"),
    Figure("fetch-to-alert", "the same after", "Memory of the monitor's scheduler and worker", form="{:.0f} MB"),
)


def table() -> str:
    """The figures as a Markdown table."""
    lines = ["| What | Figure | Bar | Benchmark |", "|---|---|---|---|"]
    for figure in SHOWN:
        row = _row(figure)
        bar = ""
        if row["must"] is not None:
            bar = ("≥ " if row["better"] == "higher" else "≤ ") + figure.form.format(row["must"])
            bar += "" if row["met"] else " (missed)"
        lines.append(f"| {figure.words} | {figure.form.format(row['value'])} | {bar} | {figure.benchmark} |")
    return "\n".join(lines) + "\n"


def _row(figure: Figure) -> dict[str, object]:
    rows = json.loads((RESULTS / f"{figure.benchmark}.json").read_text(encoding="utf-8"))["rows"]
    own = [row for row in rows if row["language"] == figure.language]
    (found,) = [row for row in own if row["metric"] == figure.metric] or [
        row for row in own if row["metric"].startswith(figure.metric)
    ]
    return dict(found)


def written_into(text: str) -> str:
    """The README's text with the present figures."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    README.write_text(written_into(README.read_text(encoding="utf-8")), encoding="utf-8")
