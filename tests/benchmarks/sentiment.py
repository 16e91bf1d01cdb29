"""What the sentiment benchmarks share: tuned rows that are kept, the starter's answers, and scores."""

import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from harness import ROOT, done_rows, keep_row

from finance_monitor.domain import SENTIMENTS
from finance_monitor.marking import as_read
from finance_monitor.starter_texts import gate, package_folder
from finance_monitor.training import BASES, starter_name
from headwater.data import LabelSpace, TextExample
from headwater.evaluation import accuracy_interval, classification_report
from headwater.progress import bar
from headwater.serving import Classifier, load_classifier
from headwater.settings import load_settings
from headwater.tuning.classify import ClassificationData, tune_classifier
from headwater.tuning.config import ClassifyConfig
from headwater.tuning.starters import merge_adapter, merged_base

RUNS = ROOT / "build" / "bench" / "runs"


def tuned_predictions(rows: Path, key: str, config: ClassifyConfig, data: ClassificationData) -> list[str]:
    """Tune once and keep the predicted labels of the test part (ids and labels only), so that a long run goes on."""
    kept = done_rows(rows)
    if key not in kept:
        folder = Path(config.output)
        shutil.rmtree(folder, ignore_errors=True)
        run = tune_classifier(config, bar(key), data=data, say=print, with_bundle_weights=False)
        model = load_classifier(run.bundle)
        said = [model.manifest.labels[i] for i in model.probabilities([e.text for e in data.test]).argmax(1)]
        keep_row(rows, key, {"predicted": said, "seconds": run.curve["seconds"]})
        shutil.rmtree(folder, ignore_errors=True)
    return list(done_rows(rows)[key]["predicted"])


def starter(task: str, group: str) -> Classifier:
    """The starter's model as a first start makes it."""
    output = Path(tempfile.mkdtemp(prefix="starter-")) / "bundle"
    name = starter_name(task, group)
    bundle = merge_adapter(
        package_folder("starter"), name, BASES[task, group], output, load_settings(), gate(task, group)
    )
    return load_classifier(bundle)


@contextmanager
def starter_base(task: str, group: str) -> Iterator[str]:
    """The starter's encoder as a base to go on from: what it learnt carries over to a new set."""
    settings = load_settings()
    with tempfile.TemporaryDirectory(prefix="starter-base-") as temporary:
        name, output = starter_name(task, group), Path(temporary) / "base"
        yield str(merged_base(package_folder("starter"), name, BASES[task, group], output, settings).path)


def as_the_monitor_reads(examples: Sequence[TextExample], language: str) -> list[TextExample]:
    """Names neutral, the order of figures worked out."""
    return [TextExample(as_read(e.text, language), e.labels) for e in examples]


def best(model: Classifier, texts: Sequence[str]) -> list[str]:
    """The most probable of positive, neutral, negative."""
    columns = [model.manifest.labels.index(name) for name in SENTIMENTS]
    return [SENTIMENTS[i] for i in model.probabilities(texts)[:, columns].argmax(1)]


def scores(true: Sequence[str], said: Sequence[str], labels: Sequence[str] = SENTIMENTS) -> dict[str, Any]:
    """Accuracy with its interval, macro and weighted F1, recall of negative."""
    space = LabelSpace(tuple(labels))
    t, s = np.array([space.index(x) for x in true]), np.array([space.index(x) for x in said])
    report = classification_report(t, s, space)
    return {
        "accuracy": accuracy_interval(t == s),
        "macro_f1": report.macro_f1,
        "weighted_f1": report.weighted_f1,
        "negative_recall": report.per_class["negative"].recall,
    }


def split(examples: Sequence[TextExample], fold: Sequence[int], number: int) -> ClassificationData:
    """Fold `number` as the test part; the tuner keeps a tenth of the rest apart for validation."""
    test = [e for e, f in zip(examples, fold, strict=True) if f == number]
    rest = [e for e, f in zip(examples, fold, strict=True) if f != number]
    return ClassificationData(rest, [], test)


def folds(groups: Sequence[str], count: int = 5, seed: int = 0) -> list[int]:
    """A fold for each row; equal groups share one."""
    names = sorted(set(groups))
    random.Random(seed).shuffle(names)
    place = {name: i % count for i, name in enumerate(names)}
    return [place[group] for group in groups]
