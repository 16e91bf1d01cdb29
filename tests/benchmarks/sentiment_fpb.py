"""sentiment-fpb: Financial PhraseBank; 5 fixed folds, and the starter, which has never seen it.

Texts as the monitor reads them. SEEDS=3 says how many seeds the folds are tuned with (each takes about half an hour); 0
scores the starter alone.
"""

import os

from harness import QUICK, ROOT, Benchmark, Row
from sentiment import RUNS, as_the_monitor_reads, best, folds, scores, split, starter, tuned_predictions

from headwater.data import fingerprint
from headwater.data.public import financial_phrasebank
from headwater.tuning.config import ClassifyConfig

ANCHORS = {"50Agree": ("FinBERT (published)", 0.84, 0.84), "AllAgree": ("FinBERT (published)", 0.95, None)}


SEEDS = 1 if QUICK else int(os.environ.get("SEEDS", "3"))


def main() -> None:
    bench = Benchmark(
        "sentiment-fpb",
        f"5 fixed folds x {SEEDS} seeds, mean; starter: tuned without it, scored on all sentences",
        fingerprint(financial_phrasebank()),
        list(range(SEEDS)),
    )
    model = starter("sentiment", "en")
    for agreement in ANCHORS:
        examples = as_the_monitor_reads(financial_phrasebank(agreement), "en")
        found = scores([e.label for e in examples], best(model, [e.text for e in examples]))
        must = 0.72 if agreement == "50Agree" else None
        bench.add(Row(f"starter, macro F1, {agreement}", found["macro_f1"], language="en", must=must))
        accuracy = found["accuracy"]
        bench.add(
            Row(f"starter, accuracy, {agreement}", accuracy.value, low=accuracy.low, high=accuracy.high, language="en")
        )
    kept = ROOT / "build" / "bench" / "rows" / f"sentiment-fpb{'-quick' if QUICK else ''}.json"
    for agreement, (rival, value, must) in ANCHORS.items() if SEEDS else ():
        examples = as_the_monitor_reads(financial_phrasebank(agreement), "en")
        fold = folds([str(i) for i in range(len(examples))])
        results = []
        for seed in range(SEEDS):
            true: list[str] = []
            said: list[str] = []
            for number in range(1 if QUICK else 5):
                data = split(examples, fold, number)
                config = ClassifyConfig(
                    output=str(RUNS / f"fpb-{agreement}-{seed}-{number}"),
                    seed=seed,
                    epochs=1 if QUICK else 5,
                    patience=0,
                )
                said += tuned_predictions(kept, f"{agreement}-{seed}-{number}", config, data)
                true += [e.label for e in data.test]
            results.append(scores(true, said))
        for name in ("macro_f1", "negative_recall"):
            figures = [result[name] for result in results]
            bench.add(
                Row(
                    f"minilm, {name.replace('_', ' ')}, {agreement}",
                    sum(figures) / len(figures),
                    low=min(figures),
                    high=max(figures),
                    language="en",
                    must=must if name == "macro_f1" else None,
                    **({"rival": rival, "rival_value": value} if name == "macro_f1" else {}),
                )
            )
    bench.write()


if __name__ == "__main__":
    main()
