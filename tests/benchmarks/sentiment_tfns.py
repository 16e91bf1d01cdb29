"""sentiment-tfns: Twitter Financial News Sentiment, tuned on the published training part, scored once on validation.

Texts as the monitor reads them.
"""

from harness import QUICK, ROOT, Benchmark, Row
from sentiment import RUNS, as_the_monitor_reads, scores, tuned_predictions

from headwater.data import fingerprint
from headwater.data.public import twitter_financial_news
from headwater.tuning.classify import ClassificationData
from headwater.tuning.config import ClassifyConfig


def main() -> None:
    data = twitter_financial_news()
    bench = Benchmark(
        "sentiment-tfns",
        "train (a tenth kept apart for choosing) -> published validation part",
        fingerprint(data.train),
        [0],
    )
    config = ClassifyConfig(output=str(RUNS / "tfns"), epochs=1 if QUICK else 5, patience=0)
    rows = ROOT / "build" / "bench" / "rows" / f"sentiment-tfns{'-quick' if QUICK else ''}.json"
    train, test = (as_the_monitor_reads(part, "en") for part in (data.train, data.test))
    said = tuned_predictions(rows, "minilm", config, ClassificationData(train, [], test))
    found = scores([e.label for e in data.test], said)
    anchor = {"rival": "FinBERT fine-tuned (published)", "rival_value": 0.884}
    bench.add(Row("weighted F1, minilm", found["weighted_f1"], language="en", must=0.88, **anchor))
    accuracy = found["accuracy"]
    bench.add(Row("accuracy, minilm", accuracy.value, low=accuracy.low, high=accuracy.high, language="en"))
    bench.add(Row("macro F1, minilm", found["macro_f1"], language="en"))
    bench.write()


if __name__ == "__main__":
    main()
