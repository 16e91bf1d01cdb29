"""Tune a classifier: examples → checks → training → calibration → scores → bundle → report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headwater.bundles import Manifest
from headwater.data import (
    LabelSpace,
    RowProblem,
    TextExample,
    check_examples,
    fingerprint,
    read_texts,
    split_stratified,
)
from headwater.evaluation import (
    bootstrap_interval,
    choose_threshold,
    classification_report,
    expected_calibration_error,
    fit_temperature,
    scope_score,
    sigmoid,
    softmax,
)
from headwater.models import BaseModel
from headwater.progress import Progress, silent
from headwater.settings import Settings, load_settings
from headwater.tuning.classification import ClassificationTask
from headwater.tuning.config import ClassifyConfig, resolved
from headwater.tuning.export.classifier import Judge, export_classifier
from headwater.tuning.methods.lora import adapter_weights, merged
from headwater.tuning.report.classification import write_report
from headwater.tuning.runs import Run, find_base, finish_run, open_run_folder
from headwater.tuning.training import estimate_cost, train


@dataclass(frozen=True)
class ClassificationData:
    """The three parts, with every row that could not be used."""

    train: list[TextExample]
    valid: list[TextExample]
    test: list[TextExample]
    problems: tuple[RowProblem, ...] = ()


def read_data(config: ClassifyConfig) -> ClassificationData:
    """Read the files that the configuration names; without a validation file a stratified part is split off."""
    problems: list[RowProblem] = []

    def part(path: str | None) -> list[TextExample]:
        if path is None:
            return []
        result = read_texts(
            path,
            text_column=config.text_column,
            label_column=config.label_column,
            label_separator=config.label_separator,
        )
        problems.extend(result.problems)
        return result.examples

    return ClassificationData(part(config.train), part(config.valid), part(config.test), tuple(problems))


def tune_classifier(
    config: ClassifyConfig,
    progress: Progress = silent,
    *,
    data: ClassificationData | None = None,
    settings: Settings | None = None,
    say: Any = lambda line: None,
    with_bundle_weights: bool = True,
) -> Run:
    """Tune, calibrate, score and export. `data` in memory takes the place of the files; `say` receives lines to print.

    The run folder must be new, or hold an interrupted run with the same configuration and data, which is resumed.
    Raises HeadwaterError for what cannot be trained on, KeyboardInterrupt (with a checkpoint) on ctrl-C.
    """
    settings = settings or load_settings()
    torch.set_num_threads(config.threads or settings.threads or torch.get_num_threads())
    data = data or read_data(config)
    report = check_examples(data.train, data.valid, data.test, data.problems, config.label_separator is not None)
    for line in report.lines:
        say(line)
    if not data.valid:
        rest, valid = split_stratified(data.train, config.validation_share, config.seed)
        say(f"no validation file: {len(valid)} training examples are kept apart for validation")
        data = replace(data, train=rest, valid=valid)
    multi_label = config.label_separator is not None or any(len(e.labels) != 1 for e in data.train)
    space = LabelSpace.from_examples(data.train, multi_label)
    data_print = fingerprint(data.train)
    folder = open_run_folder(config, data_print)
    task = ClassificationTask(find_base(config.base, settings), config, space, data.train, data.valid)
    say(f"longest text {task.max_length} tokens; {task.cut} texts are cut off")
    cost = estimate_cost(task.task(), config)
    say(f"cost: {cost}")
    outcome = train(task.task(), config, folder, progress)
    say(f"best epoch {outcome.best_epoch}: {config.metric} {max(outcome.metrics):.4f} on validation")
    adapters = adapter_weights(task.model.encoder.backbone) if config.method == "lora" else None
    if adapters is not None:
        task.model.encoder.backbone = merged(task.model.encoder.backbone)
    calibrated = _calibrate(task, data.valid, config)
    manifest = _manifest(task, config, space, calibrated, data_print)
    scores = {"validation": _score(task, data.valid, manifest, calibrated)}
    if data.test:
        scores["test"] = _score(task, data.test, manifest, calibrated)
    manifest = replace(manifest, metrics={part: _summary(score) for part, score in scores.items()})
    content: dict[str, Any] = {
        "metrics": manifest.metrics,
        "scores": scores,
        "curve": {
            "loss": outcome.losses,
            "metric": outcome.metrics,
            "best_epoch": outcome.best_epoch,
            "seconds": outcome.seconds,
            "steps": outcome.steps,
        },
        "data": report.to_json(),
        "cost": cost.__dict__,
        "config": resolved(config),
    }
    write_report(folder, content, data.test or data.valid, "test" if data.test else "validation", space)
    bundle = export_classifier(
        task.model,
        task.model.encoder.backbone,
        task.base,
        folder / "bundle",
        manifest,
        Judge([e.text for e in data.valid], _judge(task, calibrated)),
        with_weights=with_bundle_weights,
        report=content,
    )
    if adapters is not None:
        _write_adapter(folder, adapters, task.model.classes, task.model.bias)
    content["quantisation"] = bundle.manifest.quantisation
    finish_run(folder, content)
    return Run(folder, bundle, manifest.metrics, content["curve"])


@dataclass(frozen=True)
class Calibration:
    """Chosen on validation: the temperature, and the least in-scope probability (0: accept all)."""

    temperature: float
    threshold: float


def _calibrate(task: ClassificationTask, valid: Sequence[TextExample], config: ClassifyConfig) -> Calibration:
    logits = task.logits(task.valid_ids)
    if task.space.multi_label:
        return Calibration(1.0, 0.5)
    true = task.valid_targets.astype(np.int64)
    temperature = fit_temperature(logits, true)
    if config.out_of_scope is None:
        return Calibration(temperature, 0.0)
    probabilities = softmax(logits, temperature)
    confidence, right, inside = scope_arrays(probabilities, true, task.space, config.out_of_scope)
    return Calibration(temperature, choose_threshold(confidence, right, inside, config.out_of_scope_loss))


def scope_arrays(
    probabilities: NDArray[np.float32], true: NDArray[np.int64], space: LabelSpace, out_of_scope: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """(best in-scope probability, whether it is the true label, whether the text is in scope), each [n]."""
    outside = space.index(out_of_scope)
    scores = probabilities.copy()
    scores[:, outside] = -1
    best = scores.argmax(1)
    return scores.max(1), best == true, true != outside


def _manifest(
    task: ClassificationTask, config: ClassifyConfig, space: LabelSpace, calibrated: Calibration, data: str
) -> Manifest:
    base: BaseModel = task.base
    name = "labels" if space.multi_label else "out_of_scope"
    return Manifest(
        kind="classifier",
        model="model.onnx",
        base=base.name,
        base_sha256=base.sha256,
        language=base.language,
        labels=space.names,
        multi_label=space.multi_label,
        out_of_scope_label=config.out_of_scope,
        pooling=base.pooling,
        prefixes={"query": task.prefix} if task.prefix else {},
        max_length=task.max_length,
        temperature=calibrated.temperature,
        thresholds={name: calibrated.threshold} if calibrated.threshold else {},
        data_fingerprint=data,
        config=resolved(config),
        licence=base.licence,
        sources=tuple(Path(p).name for p in (config.train, config.valid, config.test) if p),
    )


def _score(
    task: ClassificationTask, examples: Sequence[TextExample], manifest: Manifest, calibrated: Calibration
) -> dict[str, Any]:
    """All scores of one part, with bootstrap intervals."""
    space = task.space
    logits = task.logits(task.tokens(examples).ids)
    true = space.encode(examples)
    if space.multi_label:
        predicted = (sigmoid(logits) >= calibrated.threshold).astype(np.int64)
        report = classification_report(true, predicted, space)
        right = (predicted == (true > 0.5)).all(1)
        return {
            "report": report.to_json(),
            "accuracy": bootstrap_interval(right.astype(float)).__dict__,
            "examples": len(examples),
        }
    true = true.astype(np.int64)
    probabilities = softmax(logits, calibrated.temperature)
    predicted = probabilities.argmax(1)
    report = classification_report(true, predicted, space)
    right = predicted == true
    scores: dict[str, Any] = {
        "report": report.to_json(),
        "accuracy": bootstrap_interval(right.astype(float)).__dict__,
        "macro_f1": report.macro_f1,
        "calibration_error": expected_calibration_error(probabilities.max(1), right),
        "examples": len(examples),
        "probabilities": probabilities,
        "true": true,
    }
    if manifest.out_of_scope_label is not None:
        arrays = scope_arrays(probabilities, true, space, manifest.out_of_scope_label)
        scores["scope"] = scope_score(*arrays, calibrated.threshold).__dict__
    return scores


def _summary(score: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in score.items() if key not in ("report", "probabilities", "true")}
    report = score["report"]
    return {
        **kept,
        "macro_f1": report["macro_f1"],
        "weighted_f1": report["weighted_f1"],
        "micro_f1": report["micro_f1"],
    }


def _judge(task: ClassificationTask, calibrated: Calibration) -> Any:
    true = task.valid_targets

    def score(logits: NDArray[np.float32]) -> float:
        if task.space.multi_label:
            return float(((sigmoid(logits) >= calibrated.threshold) == (true > 0.5)).mean())
        return float((logits.argmax(1) == true).mean())

    return score


def _write_adapter(folder: Path, adapters: dict[str, torch.Tensor], classes: torch.Tensor, bias: torch.Tensor) -> None:
    """The adapter with its head, half precision, as the starters keep it."""
    from safetensors.torch import save_file

    tensors = {name: value.half().contiguous() for name, value in adapters.items()}
    tensors |= {"head.classes": classes.detach().half(), "head.bias": bias.detach().half()}
    save_file(tensors, folder / "adapter.safetensors")
