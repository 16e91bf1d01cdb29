"""oos-clinc150: intents of CLINC150 (full) with rejection, at one threshold chosen on the validation part.

In-scope accuracy counts a rejected in-scope text as wrong. Two runs: with the 100 out-of-scope training texts of the
set, and without any; the 100 out-of-scope validation texts choose threshold, temperature and rejection level in both.
Epochs, rates and the threshold rule were chosen on validation; the test part is scored once a run, by the bundle and
runtime that serve. Long: finished rows are kept in build/bench/rows and not computed again.
"""

import shutil
from typing import Any

import numpy as np
from harness import QUICK, ROOT, Benchmark, Row, done_rows, keep_row
from numpy.typing import NDArray

from headwater.bundles import Bundle
from headwater.data import TextExample, fingerprint
from headwater.data.public import OUT_OF_SCOPE, clinc150
from headwater.evaluation import Interval, area_under_roc, bootstrap_interval, expected_calibration_error
from headwater.progress import bar
from headwater.release.scoring import predict
from headwater.tuning.classify import ClassificationData, tune_classifier
from headwater.tuning.config import ClassifyConfig

NAME = "oos-clinc150" + ("-quick" if QUICK else "")
ROWS = ROOT / "build" / "bench" / "rows" / f"{NAME}.json"
RUNS = ROOT / "build" / "bench" / "runs"
EPOCHS = 1 if QUICK else 3
# What rejection may cost of the in-scope accuracy, on validation.
LARGEST_LOSS = 0.005


def score(bundle: Bundle, test: list[TextExample]) -> dict[str, Any]:
    """Figures of the served bundle at its own threshold; `accuracy`, `recall`, `precision` with intervals."""
    found = predict(bundle, test)
    outside = found.space.index(OUT_OF_SCOPE)
    inside = found.true != outside
    scores = found.probabilities.copy()
    scores[:, outside] = -1
    confidence, right = scores.max(1), scores.argmax(1) == found.true
    return {
        "accuracy": _share(found.right[inside]),
        "recall": _share(found.right[~inside]),
        "precision": _share(~inside[found.predicted == outside]),
        "without rejection": float(right[inside].mean()),
        "area": area_under_roc(confidence, inside),
        "calibration error": expected_calibration_error(confidence[inside], right[inside]),
        "model": bundle.manifest.model,
    }


def _share(held: NDArray[np.bool_]) -> dict[str, float]:
    return (bootstrap_interval(held.astype(float)) if len(held) else Interval(0.0, 0.0, 0.0)).__dict__


def run(key: str, data: ClassificationData) -> dict[str, Any]:
    if key not in done_rows(ROWS):
        folder = RUNS / f"{NAME}-{key}"
        if (folder / "bundle").exists():
            shutil.rmtree(folder)
        config = ClassifyConfig(
            base="minilm",
            output=str(folder),
            epochs=EPOCHS,
            patience=0,
            out_of_scope=OUT_OF_SCOPE,
            out_of_scope_loss=LARGEST_LOSS,
        )
        # Without the test part: tuning never sees it.
        tuned = tune_classifier(
            config,
            bar(key),
            data=ClassificationData(data.train, data.valid, []),
            say=print,
            with_bundle_weights=False,
        )
        kept = score(tuned.bundle, data.test)
        kept |= {"seconds": tuned.curve["seconds"], "validation": tuned.metrics["validation"]["scope"]}
        keep_row(ROWS, key, kept)
        shutil.rmtree(folder, ignore_errors=True)
    return done_rows(ROWS)[key]


def add_rows(bench: Benchmark, name: str, row: dict[str, Any], rival: str, published: tuple[float, float]) -> None:
    for number, (metric, key, must) in enumerate(
        (("in-scope accuracy", "accuracy", 0.96), ("out-of-scope recall", "recall", 0.70))
    ):
        value = row[key]
        bench.add(
            Row(
                f"{metric}, {name}",
                value["value"],
                low=value["low"],
                high=value["high"],
                language="en",
                rival=rival,
                rival_value=published[number],
                must=must,
            )
        )
    precision = row["precision"]
    bench.add(
        Row(
            f"out-of-scope precision, {name}",
            precision["value"],
            low=precision["low"],
            high=precision["high"],
            language="en",
        )
    )
    bench.add(Row(f"in-scope accuracy without rejection, {name}", row["without rejection"], language="en"))
    bench.add(Row(f"AUROC of rejection, {name}", row["area"], language="en"))
    bench.add(Row(f"in-scope calibration error, {name}", row["calibration error"], "", "lower", language="en"))
    bench.add(Row(f"training time, {name}", row["seconds"] / 60, "min", "lower"))


def main() -> None:
    if QUICK:  # a smoke run measures every time
        ROWS.unlink(missing_ok=True)
    published = clinc150()
    if QUICK:
        train = [e for n, e in enumerate(published.train) if n % 10 == 0 or e.label == OUT_OF_SCOPE]
    else:
        train = published.train
    data = ClassificationData(train, published.valid, published.test[::10] if QUICK else published.test)
    bench = Benchmark(
        "oos-clinc150",
        f"data_full, minilm, {EPOCHS} epochs; temperature, rejection level and threshold from the published validation "
        f"part (largest loss of in-scope accuracy {LARGEST_LOSS}); test part scored once, by the served bundle; "
        f"in-scope accuracy: a rejected in-scope text is wrong",
        fingerprint(train),
        [0],
    )
    row = run("with", data)
    add_rows(bench, "100 out-of-scope training texts", row, "BERT with out-of-scope training data", (0.969, 0.403))
    inside = [example for example in data.train if example.label != OUT_OF_SCOPE]
    row = run("without", ClassificationData(inside, data.valid, data.test))
    add_rows(bench, "no out-of-scope training text", row, "BERT with a threshold", (0.962, 0.523))
    bench.write()


if __name__ == "__main__":
    main()
