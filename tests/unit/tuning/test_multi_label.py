"""Tuning a classifier of texts with several labels, from the file to what is served and reported."""

import csv
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from headwater.cli.main import cli
from headwater.data import read_texts
from headwater.errors import HeadwaterError
from headwater.models import BaseModel
from headwater.serving import load_classifier
from headwater.settings import Settings
from headwater.tuning.classify import tune_classifier
from headwater.tuning.config import ClassifyConfig

_WORDS = {"delivery": "parcel courier depot", "payment": "invoice charge card", "quality": "torn crack broken"}


def write_labelled(path: Path, count: int, seed: int, rare: int = 0) -> Path:
    """Texts with no label to all three; one word in ten tells a wrong one. `rare` texts have a fourth label."""
    generator = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as sink:
        writer = csv.writer(sink)
        writer.writerow(["text", "label"])
        for number in range(count):
            chosen = generator.sample(list(_WORDS), generator.choice([0, 1, 1, 2, 3]))
            told = [name if generator.random() < 0.9 else generator.choice(list(_WORDS)) for name in chosen]
            words = [word for name in told for word in generator.sample(_WORDS[name].split(), 2)]
            labels = [*chosen, *(["rare"] if number < rare else [])]
            writer.writerow([f"{' '.join(words)} order {number}", "|".join(labels)])
    return path


@pytest.fixture
def config(tiny_base: BaseModel, tmp_path: Path) -> ClassifyConfig:
    return ClassifyConfig(
        train=str(write_labelled(tmp_path / "train.csv", 120, 1, rare=3)),
        valid=str(write_labelled(tmp_path / "valid.csv", 50, 2)),
        label_separator="|",
        base=str(tiny_base.path),
        output=str(tmp_path / "run"),
        epochs=5,
        batch_size=16,
        learning_rate=3e-3,
        precision="fp32",
        threads=1,
    )


def test_the_thresholds_that_were_chosen_are_those_that_are_served_and_scored(
    config: ClassifyConfig, settings: Settings
) -> None:
    said: list[str] = []
    run = tune_classifier(config, settings=settings, say=said.append)

    manifest = run.bundle.manifest
    assert set(manifest.thresholds) == {"delivery", "payment", "quality", "rare"}
    assert any(abs(threshold - 0.5) > 0.05 for threshold in manifest.thresholds.values())
    assert manifest.temperature != 1.0
    assert any(line.startswith("best epoch") and ": micro_f1 " in line for line in said)

    examples = read_texts(config.valid or "", label_separator="|").examples
    answers = load_classifier(run.bundle).predict_labels([example.text for example in examples])
    words = ["evaluate", str(run.folder), "--data", str(config.valid), "--json"]
    scores = json.loads(CliRunner().invoke(cli, words, catch_exceptions=False).stdout)
    hits = sum(len(set(answer) & set(e.labels)) for answer, e in zip(answers, examples, strict=True))
    total = sum(len(answer) + len(e.labels) for answer, e in zip(answers, examples, strict=True))
    right = sum(set(answer) == set(e.labels) for answer, e in zip(answers, examples, strict=True))
    assert scores["micro_f1"] == pytest.approx(2 * hits / total)
    assert scores["accuracy"] == pytest.approx(right / len(examples))
    assert scores["micro_f1_interval"][0] < scores["micro_f1"] < scores["micro_f1_interval"][1]
    assert set(scores["calibration_errors"]) == set(manifest.labels)


def test_the_report_is_of_labels_not_of_classes(config: ClassifyConfig, settings: Settings) -> None:
    run = tune_classifier(config, settings=settings)

    scores = json.loads((run.folder / "report.json").read_text())["metrics"]["validation"]
    assert scores == run.bundle.manifest.metrics["validation"]
    text = (run.folder / "report.md").read_text()
    assert f"Micro F1 {scores['micro_f1']:.4f} (95 % interval {scores['micro_f1_interval']['low']:.4f} to " in text
    assert f"All labels of a text right {scores['exact_match']['value']:.4f}" in text
    assert "Accuracy" not in text
    assert "| rare | 0.000 | 0.000 | 0.000 |" in text  # no validation text has it
    assert text.count("\n| ") > 10  # mistakes are listed, such as a text whose labels are all missing
    assert (run.folder / "reliability.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("metric", "figure"), [("auto", "micro_f1"), ("macro_f1", "macro_f1"), ("accuracy", "exact_match")]
)
def test_int8_is_judged_by_the_metric_that_the_run_selects_on(
    metric: str, figure: str, config: ClassifyConfig, settings: Settings
) -> None:
    run = tune_classifier(replace(config, metric=metric, epochs=2), settings=settings)

    scores = run.metrics["validation"]
    figures = {name: scores[name] for name in ("micro_f1", "macro_f1")} | {
        "exact_match": scores["exact_match"]["value"]
    }
    assert len({round(value, 3) for value in figures.values()}) == 3
    assert run.bundle.manifest.quantisation["metric_float"] == pytest.approx(figures[figure])


def test_one_text_with_two_labels_makes_the_task_multi_label_wherever_it_stands(
    config: ClassifyConfig, tmp_path: Path, settings: Settings
) -> None:
    rows = [{"text": f"{'parcel' if n % 2 else 'invoice'} {n}", "label": "ab"[n % 2]} for n in range(20)]
    paths = [tmp_path / "train.jsonl", tmp_path / "valid.jsonl"]
    paths[0].write_text("".join(json.dumps(row) + "\n" for row in rows))
    paths[1].write_text("".join(json.dumps(row) + "\n" for row in [*rows[:4], {"text": "both", "label": ["a", "b"]}]))
    config = replace(config, train=str(paths[0]), valid=str(paths[1]), label_separator=None, method="head", epochs=1)

    with pytest.raises(HeadwaterError, match=r"out_of_scope needs a multi-class task, and valid\.jsonl:5 has 2 labels"):
        tune_classifier(replace(config, out_of_scope="b"), settings=settings)
    assert tune_classifier(config, settings=settings).bundle.manifest.multi_label
