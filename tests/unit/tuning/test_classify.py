"""Tuning a classifier: learning, resume bit for bit, accumulation, methods, refusals, the report."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from headwater.bundles import open_bundle
from headwater.cli.main import cli
from headwater.data import LabelSpace, read_texts
from headwater.errors import Conflict, HeadwaterError
from headwater.models import BaseModel
from headwater.progress import Step
from headwater.serving import load_classifier
from headwater.settings import Settings
from headwater.tuning.classification import ClassificationTask
from headwater.tuning.classify import keep_apart, read_data, tune_classifier
from headwater.tuning.config import ClassifyConfig
from headwater.tuning.methods.lora import adapter_weights, merge_adapters
from headwater.tuning.runs import find_base
from headwater.tuning.training import plan_batches, train


def config_for(base: BaseModel, train_file: Path, output: Path, **changes: object) -> ClassifyConfig:
    values = {"train": str(train_file), "base": str(base.path), "output": str(output), "epochs": 4, "batch_size": 16}
    return ClassifyConfig(**{**values, "precision": "fp32", "learning_rate": 3e-3, "threads": 1, **changes})


def test_a_run_learns_and_its_bundle_serves_what_it_learnt(
    tiny_base: BaseModel, labelled: Path, tmp_path: Path, settings: Settings
) -> None:
    run = tune_classifier(config_for(tiny_base, labelled, tmp_path / "run"), settings=settings)

    assert run.metrics["validation"]["accuracy"]["value"] >= 0.9
    served = load_classifier(open_bundle(tmp_path / "run" / "bundle"))
    rows = served.probabilities(["invoice refund card price", "courier depot tracking late", "tent stove zip boots"])
    assert [served.manifest.labels[i] for i in rows.argmax(1)] == ["billing", "delivery", "gear"]
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert set(report["scores"]["validation"]["report"]["per_class"]) == {"billing", "delivery", "gear"}
    for picture in ("confusion.png", "reliability.png", "curve.png"):
        assert (tmp_path / "run" / picture).read_bytes().startswith(b"\x89PNG")


def test_texts_outside_are_rejected_although_training_has_none(
    tiny_base: BaseModel, labelled: Path, tmp_path: Path, settings: Settings
) -> None:
    outside = [f"{text} {number}" for number in range(10) for text in ("melody violin concert", "galaxy comet orbit")]
    valid = tmp_path / "valid.csv"
    valid.write_text(labelled.read_text() + "".join(f"{text},outside\n" for text in outside))
    config = config_for(
        tiny_base,
        labelled,
        tmp_path / "run",
        valid=str(valid),
        out_of_scope="outside",
        out_of_scope_loss=0.05,
        epochs=10,
    )

    run = tune_classifier(config, settings=settings)

    manifest = run.bundle.manifest
    assert manifest.labels == ("billing", "delivery", "gear", "outside")
    assert manifest.rejection_logit is not None
    scope = run.metrics["validation"]["scope"]
    assert scope["in_scope_accuracy"] >= 0.9
    assert scope["out_of_scope_recall"] >= 0.8
    served = load_classifier(run.bundle)
    assert sum(not found.in_scope for found in served.predict(outside)) / len(outside) >= 0.75
    assert served.predict(["invoice refund card price"])[0].in_scope


class _Stop(Exception):
    pass


def test_a_run_that_is_interrupted_ends_with_the_same_weights_as_one_that_is_not(
    tiny_base: BaseModel, labelled: Path, tmp_path: Path
) -> None:
    examples = read_texts(labelled).examples
    space = LabelSpace.from_examples(examples, False)
    config = config_for(tiny_base, labelled, tmp_path, epochs=3, checkpoint_minutes=0.0, lora_dropout=0.1)

    def run(folder: Path, stop_at: int | None) -> dict[str, torch.Tensor]:
        task = ClassificationTask(tiny_base, config, space, examples[:72], examples[72:])

        def progress(step: Step) -> None:
            if stop_at is not None and step.done >= stop_at:
                raise _Stop  # as a crash would: what lies on disk is the last checkpoint

        train(task.task(), config, folder, progress)
        return {name: p.detach().clone() for name, p in task.model.named_parameters()}

    whole = run(tmp_path / "whole", None)
    with pytest.raises(_Stop):
        run(tmp_path / "cut", 8)  # in the middle of the second epoch
    resumed = run(tmp_path / "cut", None)

    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_four_accumulated_batches_of_four_give_the_gradient_of_sixteen(
    tiny_base: BaseModel, labelled: Path, tmp_path: Path
) -> None:
    examples = read_texts(labelled).examples[:16]
    space = LabelSpace.from_examples(examples, False)

    def weights(batch: int, accumulation: int) -> torch.Tensor:
        config = config_for(
            tiny_base, labelled, tmp_path, epochs=1, batch_size=batch, accumulation=accumulation, warmup=0.0
        )
        task = ClassificationTask(tiny_base, config, space, examples, examples)
        for module in task.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        train(task.task(), config, tmp_path / f"{batch}x{accumulation}", lambda step: None)
        return task.model.classes.detach().clone()

    assert torch.allclose(weights(16, 1), weights(4, 4), atol=1e-5)


def test_batches_hold_every_row_once_and_texts_of_like_length() -> None:
    lengths = list(np.random.default_rng(0).integers(3, 120, 1000))

    batches = plan_batches(lengths, 16, seed=5, epoch=0)

    assert sorted(row for batch in batches for row in batch) == list(range(1000))
    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)
    assert padded < 1.1 * sum(lengths)
    assert plan_batches(lengths, 16, 5, 0) == batches
    assert plan_batches(lengths, 16, 5, 1) != batches


@pytest.mark.parametrize("tiny_base", ["bert", "roberta", "mpnet"], indirect=True)
def test_merged_adapters_give_the_logits_of_unmerged_ones(tiny_base: BaseModel, labelled: Path, tmp_path: Path) -> None:
    from headwater.tuning.encoding import load_backbone
    from headwater.tuning.methods.lora import merged

    examples = read_texts(labelled).examples
    space = LabelSpace.from_examples(examples, False)
    config = config_for(tiny_base, labelled, tmp_path, method="lora", epochs=1)
    task = ClassificationTask(tiny_base, config, space, examples, examples[:10])
    train(task.task(), config, tmp_path / "run", lambda step: None)
    before = task.logits(task.valid_ids)
    adapters = adapter_weights(task.model.encoder.backbone)

    fresh = load_backbone(tiny_base)
    plain = task.model.encoder.backbone
    task.model.encoder.backbone = fresh
    assert np.abs(task.logits(task.valid_ids) - before).max() > 1e-3  # the adapters do something
    merge_adapters(fresh, adapters)
    assert np.abs(task.logits(task.valid_ids) - before).max() < 1e-4
    task.model.encoder.backbone = merged(plain)
    assert np.abs(task.logits(task.valid_ids) - before).max() < 1e-4


def test_lora_and_head_leave_the_rest_of_the_encoder_alone(
    tiny_base: BaseModel, labelled: Path, tmp_path: Path
) -> None:
    examples = read_texts(labelled).examples
    space = LabelSpace.from_examples(examples, False)
    for method, expected in (("head", {"classes"}), ("lora", {"classes", "lora"})):
        config = config_for(tiny_base, labelled, tmp_path, method=method)
        task = ClassificationTask(tiny_base, config, space, examples, examples[:5])
        names = {name for name, p in task.model.named_parameters() if p.requires_grad}
        assert {("lora" if "lora_" in name else name) for name in names} == expected


def test_a_starter_adapter_is_written_for_lora_runs(
    tiny_base: BaseModel, labelled: Path, tmp_path: Path, settings: Settings
) -> None:
    tune_classifier(config_for(tiny_base, labelled, tmp_path / "run", method="lora", epochs=1), settings=settings)

    tensors = load_file(tmp_path / "run" / "adapter.safetensors")
    assert "head.classes" in tensors
    assert any(name.endswith(".A") for name in tensors)


def test_a_lora_run_goes_on_from_an_earlier_adapter(
    tiny_base: BaseModel, labelled: Path, tmp_path: Path, settings: Settings
) -> None:
    first = config_for(tiny_base, labelled, tmp_path / "run", method="lora", epochs=1)
    tune_classifier(first, settings=settings)
    adapter = tmp_path / "run" / "adapter.safetensors"
    examples = read_texts(labelled).examples
    space = LabelSpace.from_examples(examples, False)

    def begin(**changes: Any) -> ClassificationTask:
        config = replace(first, **{"output": str(tmp_path / "second"), "start": str(adapter), **changes})
        return ClassificationTask(tiny_base, config, space, examples, examples[:10])

    task, plain = begin(), ClassificationTask(tiny_base, first, space, examples, examples[:10])
    kept = load_file(adapter)
    for name, tensor in adapter_weights(task.model.encoder.backbone).items():
        assert torch.allclose(tensor, kept[name].float(), atol=1e-6), name
    assert torch.equal(task.model.classes, kept["head.classes"].float())
    assert np.abs(task.logits(task.valid_ids) - plain.logits(plain.valid_ids)).max() > 1e-3
    with pytest.raises(HeadwaterError, match=r"rank 8 at .*, and this run 4; use --lora-rank 8"):
        begin(lora_rank=4)
    with pytest.raises(HeadwaterError, match="the method is full; use method lora"):
        begin(method="full")
    save_file({**kept, "head.classes": kept["head.classes"][:1]}, tmp_path / "few.safetensors")
    with pytest.raises(HeadwaterError, match="knows 1 labels"):
        begin(start=str(tmp_path / "few.safetensors"))
    with pytest.raises(HeadwaterError, match="there is no adapter"):
        begin(start="nowhere.safetensors")


def test_a_run_can_start_from_an_own_bundle(
    tiny_base: BaseModel, labelled: Path, tmp_path: Path, settings: Settings
) -> None:
    tune_classifier(config_for(tiny_base, labelled, tmp_path / "first", epochs=1), settings=settings)

    base = find_base(str(tmp_path / "first"), settings)
    second = config_for(replace(tiny_base, path=tmp_path / "first"), labelled, tmp_path / "second", epochs=1)

    assert base.path.is_relative_to(tmp_path / "first")
    assert tune_classifier(second, settings=settings).bundle.manifest.kind == "classifier"


def test_adapters_on_an_own_bundle_leave_what_it_had_learnt_as_it_was(
    tiny_base: BaseModel, labelled: Path, tmp_path: Path, settings: Settings
) -> None:
    tune_classifier(config_for(tiny_base, labelled, tmp_path / "first"), settings=settings)
    second = replace(config_for(tiny_base, labelled, tmp_path / "second", method="lora"), base=str(tmp_path / "first"))

    run = tune_classifier(second, settings=settings)

    before, after = (load_file(tmp_path / name / "bundle/torch/model.safetensors") for name in ("first", "second"))
    original = load_file(tiny_base.path / "model.safetensors")
    merged_into = {name for name in before if not torch.equal(before[name], after[name])}
    assert "encoder.layer.0.attention.self.query.weight" in merged_into
    assert all(name.endswith(".weight") and "LayerNorm" not in name for name in merged_into)
    untouched = "encoder.layer.0.output.LayerNorm.weight"
    assert not torch.equal(before[untouched], original[untouched])  # the first run had tuned all
    assert run.bundle.manifest.config["base"] == str(tmp_path / "first")
    assert run.metrics["validation"]["accuracy"]["value"] >= 0.9


def test_several_labels_a_text_are_learnt_with_their_own_thresholds(
    tiny_base: BaseModel, tmp_path: Path, settings: Settings
) -> None:
    words = {"red": "crimson", "round": "ball", "heavy": "anvil"}
    rows = ["text,label"]
    for number in range(120):
        chosen = [label for bit, label in enumerate(words) if (number >> bit) & 1] or ["red"]
        rows.append(f"{' '.join(words[label] for label in chosen)} item {number},{'|'.join(chosen)}")
    path = tmp_path / "multi.csv"
    path.write_text("\n".join(rows) + "\n")

    run = tune_classifier(
        config_for(tiny_base, path, tmp_path / "run", label_separator="|", epochs=8), settings=settings
    )

    assert run.bundle.manifest.multi_label
    assert run.metrics["validation"]["micro_f1"] > 0.8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label\n", "gave no usable example"),
        ("text,label\na,x\nb,x\nc,x\n", "one"),
        ("text,kind\na,x\n", "no column 'label'"),
        ("text,label\na,x\nb,y\nc,z\n", r"give at least two texts a class.*\(--valid\)"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_before_training(
    content: str, message: str, tiny_base: BaseModel, tmp_path: Path, settings: Settings
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)

    with pytest.raises(HeadwaterError, match=message):
        tune_classifier(config_for(tiny_base, path, tmp_path / "run"), settings=settings)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_validation_share_of_nothing_is_refused_with_the_way_out(
    tiny_base: BaseModel, labelled: Path, tmp_path: Path, settings: Settings
) -> None:
    with pytest.raises(HeadwaterError, match=r"--validation-share 0 leaves no example .*\(--valid\)"):
        tune_classifier(config_for(tiny_base, labelled, tmp_path / "run", validation_share=0.0), settings=settings)


def test_four_texts_a_class_are_enough_and_unusable_rows_are_named(
    tiny_base: BaseModel, tmp_path: Path, settings: Settings
) -> None:
    path = tmp_path / "few.csv"
    rows = [f"{word} text {n},{word}" for word in ("refund", "parcel", "tent") for n in range(4)]
    path.write_text("\n".join(["text,label", *rows, ",tent", "too,many,cells"]) + "\n")
    said: list[str] = []

    run = tune_classifier(
        replace(config_for(tiny_base, path, tmp_path / "run", epochs=1, method="head"), base="auto"),
        settings=settings,
        say=said.append,
    )

    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["scores"]["validation"]["examples"] == 3
    assert report["data"]["problems"] == [
        f"{path}:13: column 'text' is empty",
        f"{path}:14: 3 columns where the header has 2",
    ]
    assert f"not used: {path}:13: column 'text' is empty" in said
    assert run.bundle.manifest.config["base"] == run.bundle.manifest.base == "minilm"
    assert "under a minute" in next(line for line in said if line.startswith("cost:"))


def test_a_group_stands_on_one_side_of_the_validation_split(
    tiny_base: BaseModel, tmp_path: Path, settings: Settings
) -> None:
    path = tmp_path / "grouped.csv"
    rows = [f"{'tent' if n % 2 else 'refund'} text {n},{n % 2},customer {n // 10}" for n in range(100)]
    path.write_text("\n".join(["text,label,who", *rows]) + "\n")
    config = config_for(tiny_base, path, tmp_path / "run", group_column="who", validation_share=0.2)

    data = keep_apart(read_data(config), config)

    assert len({e.group for e in data.valid}) == 2
    assert len({e.group for e in data.train}) == 8
    assert not {e.group for e in data.valid} & {e.group for e in data.train}


def test_a_group_column_is_needed_in_the_training_file_alone(
    tiny_base: BaseModel, tmp_path: Path, settings: Settings
) -> None:
    rows = [f"{'tent' if n % 2 else 'refund'} text {n},{n % 2}" for n in range(40)]
    grouped = [f"{row},customer {n // 8}" for n, row in enumerate(rows)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label,who", *grouped]) + "\n")
    (tmp_path / "test.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    (tmp_path / "run.yaml").write_text("group_column: whom\nepochs: 1\nmethod: head\n")
    words = ["tune", "classify", "--config", str(tmp_path / "run.yaml"), "--base", str(tiny_base.path)]
    words += [f"--{part}={tmp_path / part}.csv" for part in ("train", "test")] + ["--output", str(tmp_path / "run")]

    with pytest.raises(HeadwaterError, match=r"train\.csv has no column 'whom'.*did you mean 'who'"):
        CliRunner().invoke(cli, words, catch_exceptions=False)
    done = CliRunner().invoke(cli, [*words, "--group-column", "who"], catch_exceptions=False)

    assert done.exit_code == 0
    assert "8 training examples are kept apart for validation" in done.stderr  # a customer


def test_a_start_that_failed_leaves_the_folder_to_the_corrected_command(
    tiny_base: BaseModel, labelled: Path, tmp_path: Path, settings: Settings
) -> None:
    with pytest.raises(HeadwaterError, match="no base model 'minlm'"):
        tune_classifier(replace(config_for(tiny_base, labelled, tmp_path / "run"), base="minlm"), settings=settings)
    with pytest.raises(HeadwaterError, match="longer than 4 tokens"):
        tune_classifier(config_for(tiny_base, labelled, tmp_path / "run", max_length=4), settings=settings)

    run = tune_classifier(config_for(tiny_base, labelled, tmp_path / "run", epochs=1), settings=settings)

    assert run.bundle.manifest.kind == "classifier"


def test_a_label_that_only_the_test_file_has_is_named(
    tiny_base: BaseModel, labelled: Path, tmp_path: Path, settings: Settings
) -> None:
    other = tmp_path / "test.csv"
    other.write_text("text,label\nsomething else,weather\n")

    with pytest.raises(HeadwaterError, match="weather"):
        tune_classifier(config_for(tiny_base, labelled, tmp_path / "run", test=str(other)), settings=settings)


def test_a_finished_folder_is_not_overwritten(
    tiny_base: BaseModel, labelled: Path, tmp_path: Path, settings: Settings
) -> None:
    config = config_for(tiny_base, labelled, tmp_path / "run", epochs=1)
    tune_classifier(config, settings=settings)

    with pytest.raises(Conflict, match="finished run"):
        tune_classifier(config, settings=settings)


def test_long_texts_above_the_limit_are_refused_with_the_way_out(
    tiny_base: BaseModel, tmp_path: Path, settings: Settings
) -> None:
    path = tmp_path / "long.csv"
    path.write_text("text,label\n" + "".join(f"{'word ' * 200}{n},{'ab'[n % 2]}\n" for n in range(20)))

    with pytest.raises(HeadwaterError, match="--truncation-limit"):
        tune_classifier(config_for(tiny_base, path, tmp_path / "run"), settings=settings)


def test_a_loss_that_is_no_number_stops_the_run(
    tiny_base: BaseModel, labelled: Path, tmp_path: Path, settings: Settings
) -> None:
    with pytest.raises(HeadwaterError, match="learning-rate"):
        tune_classifier(
            config_for(tiny_base, labelled, tmp_path / "run", learning_rate=1e30, warmup=0.0), settings=settings
        )


def test_ctrl_c_keeps_a_checkpoint_and_the_same_command_goes_on(
    tiny_base: BaseModel, labelled: Path, tmp_path: Path, settings: Settings
) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "headwater.cli.main", "tune", "classify", "--train", str(labelled)]
    command += ["--base", str(tiny_base.path), "--output", str(folder), "--threads", "1", "--precision", "fp32"]
    environment = {**os.environ, "HEADWATER_HOME": str(settings.home)}
    command += ["--epochs", "100", "--patience", "0"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (folder / "checkpoints" / "last" / "state.json").is_file():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=30)

    assert process.returncode != 0
    assert "the same command goes on from the last checkpoint" in message
    done = json.loads((folder / "checkpoints" / "last" / "state.json").read_text())["step"]
    other = subprocess.run([*command, "--epochs", "2"], env=environment, capture_output=True, text=True, check=False)
    assert "interrupted run with other settings" in other.stderr
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert f"went on from step {done}" in again.stderr
    curve = json.loads((folder / "report.json").read_text())["curve"]
    assert len(curve["metric"]) == 100
    assert 0 < done < curve["steps"]
