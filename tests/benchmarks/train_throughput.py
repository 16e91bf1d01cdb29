"""train-throughput: our training loop against transformers.Trainer with its defaults, on banking77 with minilm.

Speed: segments of training steps in turn (A B C A B C ...), each through the loop that the product runs; C is the
rival at our batch size, since a ratio to its default batch of 8 alone would flatter us. Then one full run each of the
same epochs on the same examples, for the accuracy that the time buys. Long: finished segments and runs are kept in
build/bench/rows and not measured again; remove that file to measure anew.
"""

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import QUICK, ROOT, Benchmark, Row, done_rows, keep_row, median_ratio

from headwater.data import LabelSpace, TextExample, fingerprint, split_stratified
from headwater.data.public import banking77
from headwater.evaluation import bootstrap_interval
from headwater.models import BaseModel, resolve_base
from headwater.progress import Step, bar
from headwater.settings import load_settings
from headwater.tuning.classification import ClassificationTask
from headwater.tuning.classify import ClassificationData, tune_classifier
from headwater.tuning.config import ClassifyConfig
from headwater.tuning.training import Task, train

ROWS = ROOT / "build" / "bench" / "rows" / ("train-throughput" + ("-quick" if QUICK else "") + ".json")
RUNS = ROOT / "build" / "bench" / "runs"
THREADS = 2
SEGMENTS = 2 if QUICK else 5
STEPS = 20 if QUICK else 200
EPOCHS = 1 if QUICK else 3  # the Trainer's default
RIVAL_BATCH = 8  # the Trainer's default
OUR_BATCH = ClassifyConfig().batch_size


class Ours:
    """Headwater's loop: bf16 where the processor has it, length-grouped batches, prototypes, frozen word table."""

    def __init__(self, base: BaseModel, data: ClassificationData, space: LabelSpace) -> None:
        self.config = ClassifyConfig(epochs=1, patience=0, threads=THREADS)
        self.task = ClassificationTask(base, self.config, space, data.train, data.valid)

    def speed(self, seed: int) -> float:
        """Examples a second of STEPS steps on freshly drawn examples, from the call to the end of the last step."""
        rows = random.Random(seed).sample(range(len(self.task.ids)), STEPS * OUR_BATCH)
        whole = self.task.task()
        part = Task(
            whole.model,
            [whole.lengths[row] for row in rows],
            lambda places: whole.loss([rows[place] for place in places]),
            lambda: 0.0,  # no validation: the rival's segment has none
            whole.head,
            whole.head_rate,
        )
        ends: list[float] = []

        def note(step: Step) -> None:
            ends.append(time.perf_counter())

        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            train(part, self.config, Path(folder), note)
        if len(ends) != STEPS:
            raise RuntimeError(f"{len(ends)} steps were run instead of {STEPS}")
        return len(rows) / (ends[-1] - started)


class Rival:
    """transformers.Trainer: fp32, AdamW, linear schedule, padding to the longest text of each random batch."""

    def __init__(self, base: BaseModel, data: ClassificationData, space: LabelSpace) -> None:
        from transformers import AutoTokenizer

        self.base, self.labels = base, len(space)
        self.tokenizer = AutoTokenizer.from_pretrained(base.path, local_files_only=True)
        self.train_rows = self._rows(data.train, space)
        self.test_rows = self._rows(data.test, space)

    def _rows(self, examples: Sequence[TextExample], space: LabelSpace) -> list[dict[str, Any]]:
        ids = self.tokenizer([example.text for example in examples], truncation=True)["input_ids"]
        return [
            {"input_ids": row, "labels": int(label)} for row, label in zip(ids, space.encode(examples), strict=True)
        ]

    def _trainer(self, folder: str, callback: Any = None, **changed: Any) -> Any:
        from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(
            self.base.path, num_labels=self.labels, dtype=torch.float32, local_files_only=True
        )
        return Trainer(
            model=model,
            args=TrainingArguments(folder, disable_tqdm=True, use_cpu=True, **changed),
            train_dataset=self.train_rows,
            processing_class=self.tokenizer,  # brings the padding collator
            callbacks=[callback] if callback else None,
        )

    def speed(self, batch_size: int, steps: int, seed: int) -> float:
        """Examples a second of `steps` steps, from the begin of training to the end of the last step."""
        from transformers import TrainerCallback

        times: list[float] = []

        class Clock(TrainerCallback):
            def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
                times.append(time.perf_counter())

            def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
                times.append(time.perf_counter())

        with tempfile.TemporaryDirectory() as folder:
            changed = {"per_device_train_batch_size": batch_size, "max_steps": steps, "data_seed": seed}
            self._trainer(folder, Clock(), save_strategy="no", **changed).train()
        if len(times) != steps + 1:
            raise RuntimeError(f"{len(times) - 1} steps were run instead of {steps}")
        return steps * batch_size / (times[-1] - times[0])

    def full_run(self) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            trainer = self._trainer(folder, num_train_epochs=EPOCHS)
            started = time.perf_counter()
            trainer.train()
            seconds = time.perf_counter() - started
            found = trainer.predict(self.test_rows)
        right = found.predictions.argmax(1) == found.label_ids
        return {**bootstrap_interval(right.astype(float)).__dict__, "seconds": seconds}


def our_full_run(data: ClassificationData) -> dict[str, float]:
    folder = RUNS / "train-throughput"
    shutil.rmtree(folder, ignore_errors=True)
    config = ClassifyConfig(base="minilm", output=str(folder), epochs=EPOCHS, patience=0, threads=THREADS)
    result = tune_classifier(config, bar("full run, ours"), data=data, say=print, with_bundle_weights=False)
    shutil.rmtree(folder, ignore_errors=True)
    return {**result.metrics["test"]["accuracy"], "seconds": result.curve["seconds"]}


def once(key: str, measure: Callable[[], Any]) -> Any:
    """The kept value of `key`, measured now if there is none."""
    if key not in done_rows(ROWS):
        keep_row(ROWS, key, measure())
        print(f"{key}: {done_rows(ROWS)[key]}", flush=True)
    return done_rows(ROWS)[key]


def measure_segments(base: BaseModel, data: ClassificationData, space: LabelSpace) -> np.ndarray[Any, Any]:
    """Examples a second [segments, 3]: ours, the rival as it comes, the rival at our batch size."""
    missing = [number for number in range(SEGMENTS) if f"segment-{number}" not in done_rows(ROWS)]
    if missing:
        ours, rival = Ours(base, data, space), Rival(base, data, space)
        rival.speed(RIVAL_BATCH, 5, SEGMENTS)  # the first steps of a process are slower
        ours.task.loss(list(range(OUR_BATCH))).backward()
        ours.task.model.zero_grad(set_to_none=True)
        # At our batch size a quarter of the steps already passes as many examples as the rival's default segment.
        few = STEPS * RIVAL_BATCH // OUR_BATCH
        for number in missing:
            once(
                f"segment-{number}",
                lambda seed=number: [
                    ours.speed(seed),
                    rival.speed(RIVAL_BATCH, STEPS, seed),
                    rival.speed(OUR_BATCH, few, seed),
                ],
            )
    kept = done_rows(ROWS)
    return np.array([kept[f"segment-{number}"] for number in range(SEGMENTS)])


def main() -> None:
    torch.set_num_threads(THREADS)
    if QUICK:  # a smoke run measures every time
        ROWS.unlink(missing_ok=True)
    published = banking77()
    rest, valid = split_stratified(published.train, ClassifyConfig().validation_share, 0)
    if QUICK:
        rest = split_stratified(rest, 0.15, 0)[1]
    data = ClassificationData(rest, valid, published.test[:200] if QUICK else published.test)
    space = LabelSpace.from_examples(data.train, False)
    base = resolve_base("minilm", load_settings())
    bench = Benchmark(
        "train-throughput",
        f"banking77 (a tenth of train kept apart), minilm, {THREADS} threads; speed: {SEGMENTS} segments in turn "
        f"(A B C A B C ...), A ours, {STEPS} steps of {OUR_BATCH} texts, B transformers.Trainer with its defaults, "
        f"{STEPS} steps of {RIVAL_BATCH} texts, C the same at our batch size of {OUR_BATCH}, as many texts as B; "
        f"no validation or checkpoint inside a segment; ratios pair by pair. Full runs: {EPOCHS} epochs each on the "
        f"same examples, checkpoints (and our validation after each epoch) included, test part scored once",
        fingerprint(data.train),
        list(range(SEGMENTS)),
    )
    speeds = measure_segments(base, data, space)
    for column, rival, must in (
        (1, f"transformers.Trainer, defaults (fp32, batch {RIVAL_BATCH})", 2.0),
        (2, f"transformers.Trainer at batch {OUR_BATCH}", None),
    ):
        ratio, low, high = median_ratio((1 / speeds[:, 0]).tolist(), (1 / speeds[:, column]).tolist())
        bench.add(Row(f"speed-up over {rival}", ratio, "x", low=low, high=high, language="en", must=must))
        values = np.median(speeds, 0)
        bench.add(
            Row(
                f"training speed (ours at batch {OUR_BATCH})",
                float(values[0]),
                "examples/s",
                language="en",
                rival=rival,
                rival_value=float(values[column]),
            )
        )
    ours = once("full-ours", lambda: our_full_run(data))
    theirs = once("full-rival", lambda: Rival(base, data, space).full_run())
    name = "transformers.Trainer, defaults"
    bench.add(
        Row(
            f"accuracy after {EPOCHS} epochs",
            ours["value"],
            low=ours["low"],
            high=ours["high"],
            language="en",
            rival=name,
            rival_value=theirs["value"],
            must=theirs["value"] - 0.005,
        )
    )
    minutes = ours["seconds"] / 60, theirs["seconds"] / 60
    bench.add(
        Row(f"time of {EPOCHS} epochs", minutes[0], "min", "lower", language="en", rival=name, rival_value=minutes[1])
    )
    bench.write()


if __name__ == "__main__":
    main()
