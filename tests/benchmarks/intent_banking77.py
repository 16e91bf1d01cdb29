"""intent-banking77: full tuning on the published split, and 10 examples a class in 5 draws.

Everything was chosen on validation parts of the training file; the test part is scored once a run.
Long: finished rows are kept in build/bench/rows and not computed again.
"""

import random
import shutil
from pathlib import Path

import numpy as np
from harness import QUICK, ROOT, Benchmark, Row, done_rows, keep_row

from headwater.data import TextExample, fingerprint
from headwater.data.public import banking77
from headwater.progress import bar
from headwater.tuning.classify import ClassificationData, tune_classifier
from headwater.tuning.config import ClassifyConfig

ROWS = ROOT / "build" / "bench" / "rows" / "intent-banking77.json"
RUNS = ROOT / "build" / "bench" / "runs"
DRAWS = 1 if QUICK else 5


def ten_shot(examples: list[TextExample], seed: int) -> tuple[list[TextExample], list[TextExample]]:
    """10 examples a class, and 5 more a class as the validation part."""
    generator = random.Random(seed)
    by_label: dict[str, list[TextExample]] = {}
    for example in examples:
        by_label.setdefault(example.label, []).append(example)
    chosen = {label: generator.sample(rows, 15) for label, rows in sorted(by_label.items())}
    return [e for rows in chosen.values() for e in rows[:10]], [e for rows in chosen.values() for e in rows[10:]]


def run(key: str, config: ClassifyConfig, data: ClassificationData) -> dict[str, float]:
    kept = done_rows(ROWS)
    if key not in kept:
        folder = Path(config.output)
        if (folder / "bundle").exists():
            shutil.rmtree(folder)
        result = tune_classifier(config, bar(key), data=data, say=print, with_bundle_weights=False)
        test = result.metrics["test"]
        row = {**test["accuracy"], "macro_f1": test["macro_f1"], "seconds": result.curve["seconds"]}
        keep_row(ROWS, key, row)
        shutil.rmtree(folder, ignore_errors=True)
    return done_rows(ROWS)[key]


def main() -> None:
    data = banking77()
    bench = Benchmark(
        "intent-banking77",
        "published split, a tenth of train as validation; 10-shot: 5 draws of 10 a class, scored on all of test",
        fingerprint(data.train),
        list(range(DRAWS)),
    )
    full = ClassifyConfig(output=str(RUNS / "banking77-minilm"), epochs=1 if QUICK else 10, patience=0)
    row = run("full-minilm", full, ClassificationData(data.train, [], data.test))
    bench.add(
        Row(
            "accuracy, full",
            row["value"],
            low=row["low"],
            high=row["high"],
            language="en",
            rival="BERT tuned",
            rival_value=0.937,
            must=0.935,
        )
    )
    bench.add(Row("training time, full", row["seconds"] / 60, "min", "lower"))
    for base, must, draws in (("minilm", 0.84, DRAWS), ("mpnet", 0.87, 0 if QUICK else 5)):
        values = []
        for seed in range(draws):
            train, valid = ten_shot(data.train, seed)
            config = ClassifyConfig(
                base=base,
                output=str(RUNS / f"banking77-10-{base}-{seed}"),
                seed=seed,
                epochs=6,
                patience=0,
                label_texts=True,
                learning_rate=1e-4 if base == "minilm" else 5e-5,
            )
            values.append(run(f"10-shot-{base}-{seed}", config, ClassificationData(train, valid, data.test))["value"])
        if values:
            mean, spread = float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            bench.add(
                Row(
                    f"accuracy, 10-shot, {base}, mean of {len(values)} draws (sd {spread:.4f})",
                    mean,
                    low=min(values),
                    high=max(values),
                    language="en",
                    must=must,
                )
            )
    bench.write()


if __name__ == "__main__":
    main()
