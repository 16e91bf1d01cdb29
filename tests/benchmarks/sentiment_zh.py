"""sentiment-zh: Chinese company headlines, positive or negative; the starter, never tuned on them, and 5 folds."""

from harness import QUICK, ROOT, Benchmark, Row
from sentiment import RUNS, folds, scores, split, starter, starter_base, tuned_predictions

from finance_monitor.marking import mark_names
from headwater.data import TextExample, fingerprint
from headwater.data.public import zh_financial_news
from headwater.tuning.config import ClassifyConfig

LABELS = ("negative", "positive")


def main() -> None:
    rows = zh_financial_news()
    examples = [TextExample(mark_names(row.text, row.target, (), "zh"), (row.label,)) for row in rows]
    bench = Benchmark(
        "sentiment-zh", "5 folds; starter: tuned without it, the likelier of the two", fingerprint(examples), [0]
    )
    model = starter("sentiment", "*")
    columns = [model.manifest.labels.index(name) for name in LABELS]
    chosen = model.probabilities([e.text for e in examples])[:, columns].argmax(1)
    found = scores([e.label for e in examples], [LABELS[i] for i in chosen], LABELS)["accuracy"]
    bench.add(Row("accuracy, starter", found.value, low=found.low, high=found.high, language="zh"))
    fold = folds([row.group for row in rows])
    kept = ROOT / "build" / "bench" / "rows" / f"sentiment-zh{'-quick' if QUICK else ''}.json"
    true: list[str] = []
    said: list[str] = []
    with starter_base("sentiment", "*") as base:
        for number in range(1 if QUICK else 5):
            data = split(examples, fold, number)
            config = ClassifyConfig(base=base, output=str(RUNS / f"zh-{number}"), epochs=1 if QUICK else 4, patience=0)
            said += tuned_predictions(kept, f"starter-{number}", config, data)
            true += [e.label for e in data.test]
    found = scores(true, said, LABELS)["accuracy"]
    bench.add(
        Row(
            "accuracy, tuned on from the starter, 5 folds",
            found.value,
            low=found.low,
            high=found.high,
            language="zh",
            rival="character TF-IDF + logistic regression",
            rival_value=0.938,
            must=0.95,
        )
    )
    bench.write()


if __name__ == "__main__":
    main()
