"""sentiment-entity: SEntFiN, the sentiment of each entity of a headline; 5 folds grouped by headline.

The second figure is that of headlines whose entities have conflicting labels.
"""

from collections import defaultdict

from harness import QUICK, ROOT, Benchmark, Row
from sentiment import RUNS, folds, scores, split, tuned_predictions

from finance_monitor.marking import mark_names
from headwater.data import TextExample, fingerprint
from headwater.data.public import sentfin
from headwater.tuning.config import ClassifyConfig

BASES = {"minilm": (0.0, 6), "mpnet": (5e-5, 4)}


def main() -> None:
    rows = sentfin()
    examples = [TextExample(mark_names(r.text, r.target, r.others, "en"), (r.label,)) for r in rows]
    fold = folds([row.group for row in rows])
    labels: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        labels[row.group].add(row.label)
    bench = Benchmark("sentiment-entity", "5 folds grouped by headline, names replaced", fingerprint(examples), [0])
    kept = ROOT / "build" / "bench" / "rows" / f"sentiment-entity{'-quick' if QUICK else ''}.json"
    for base, (rate, epochs) in BASES.items():
        if QUICK and base != "minilm":
            continue
        true: list[str] = []
        said: list[str] = []
        conflicting: list[bool] = []
        for number in range(1 if QUICK else 5):
            data = split(examples, fold, number)
            config = ClassifyConfig(
                base=base,
                output=str(RUNS / f"sentfin-{base}-{number}"),
                epochs=1 if QUICK else epochs,
                learning_rate=rate,
                patience=0,
            )
            said += tuned_predictions(kept, f"{base}-{number}", config, data)
            true += [e.label for e in data.test]
            conflicting += [len(labels[r.group]) > 1 for r, f in zip(rows, fold, strict=True) if f == number]
        found = scores(true, said)["accuracy"]
        hard = scores(
            [t for t, c in zip(true, conflicting, strict=True) if c],
            [s for s, c in zip(said, conflicting, strict=True) if c],
        )["accuracy"]
        anchor = {"rival": "RoBERTa, best published", "rival_value": 0.943}
        bench.add(
            Row(f"accuracy, {base}", found.value, low=found.low, high=found.high, language="en", must=0.90, **anchor)
        )
        bench.add(
            Row(
                f"accuracy of conflicting headlines, {base}",
                hard.value,
                low=hard.low,
                high=hard.high,
                language="en",
                must=0.80,
            )
        )
    bench.write()


if __name__ == "__main__":
    main()
