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
    split_grouped,
    split_stratified,
)
from headwater.errors import HeadwaterError
from headwater.evaluation import (
    accuracy_interval,
    choose_label_thresholds,
    choose_threshold,
    classification_report,
    expected_calibration_error,
    f1_intervals,
    fit_rejection,
    fit_temperature,
    label_calibration_errors,
    metric_value,
    scope_score,
    sigmoid,
    softmax,
    with_rejection,
)
from headwater.models import BaseModel
from headwater.progress import Progress, silent
from headwater.settings import Settings, load_settings
from headwater.tuning.bases import choose_base
from headwater.tuning.classification import ClassificationTask
from headwater.tuning.config import ClassifyConfig, resolved, validation_share
from headwater.tuning.export.classifier import Judge, export_classifier
from headwater.tuning.methods.lora import adapter_weights, merged
from headwater.tuning.report.classification import write_report
from headwater.tuning.runs import Run, finish_run, open_run_folder, say_problems
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

    def part(path: str | None, group_column: str | None = None) -> list[TextExample]:
        if path is None:
            return []
        result = read_texts(
            path,
            text_column=config.text_column,
            label_column=config.label_column,
            label_separator=config.label_separator,
            group_column=group_column,
        )
        problems.extend(result.problems)
        return result.examples

    # Only the training file is split, so only there groups are needed.
    train = part(config.train, config.group_column)
    return ClassificationData(train, part(config.valid), part(config.test), tuple(problems))


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
    if data is None:
        data = read_data(config)
        say_problems(data.problems, say)
    multi_label = _is_multi_label(data, config)
    report = check_examples(data.train, data.valid, data.test, data.problems, multi_label, config.out_of_scope)
    for line in report.lines:
        say(line)
    if not data.valid:
        data = keep_apart(data, config)
        say(f"no validation file: {len(data.valid)} training examples are kept apart for validation")
    space = _label_space(data.train, multi_label, config.out_of_scope)
    data_print = fingerprint(data.train)
    name, base = choose_base(config.base, [example.text for example in data.train], settings, say)
    config = replace(config, base=name, metric=config.metric_for(multi_label))
    folder = open_run_folder(config, data_print)
    task = ClassificationTask(base, config, space, data.train, data.valid)
    say(f"longest text {task.max_length} tokens; {task.cut} texts are cut off")
    cost = estimate_cost(task.task(), config)
    say(f"cost: {cost}")
    outcome = train(task.task(), config, folder, progress)
    if outcome.resumed_at:
        say(f"went on from step {outcome.resumed_at}")
    metric = "exact match" if multi_label and config.metric == "accuracy" else config.metric
    say(f"best epoch {outcome.best_epoch}: {metric} {max(outcome.metrics):.4f} on validation")
    adapters = adapter_weights(task.model.encoder.backbone) if config.method == "lora" else None
    if adapters is not None:
        task.model.encoder.backbone = merged(task.model.encoder.backbone)
    calibrated = calibrate(task.logits(task.valid_ids, "fp32"), task.valid_targets, space, config)
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
        "data": {**report.to_json(), "problems": [str(problem) for problem in data.problems]},
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
        Judge(
            [e.text for e in data.valid],
            lambda logits: metric_value(
                config.metric, task.valid_targets, calibrated.decide(calibrated.probabilities(logits)), space
            ),
        ),
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
    """Chosen on validation: the temperature, and the least in-scope probability (0: accept all).

    `label_thresholds` [labels] hold instead where a text has several labels. `outside` and `level` are the
    out-of-scope label and what its logit is raised to (`with_rejection`), if any.
    """

    temperature: float
    threshold: float
    label_thresholds: NDArray[np.float64] | None = None
    outside: int | None = None
    level: float | None = None

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Calibrated probabilities of logits [n, labels], as the serving runtime computes them."""
        if self.label_thresholds is not None:
            return sigmoid(logits, self.temperature)
        if self.outside is not None and self.level is not None:
            logits = with_rejection(logits, self.outside, self.level)
        return softmax(logits, self.temperature)

    def decide(self, probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
        """What is said of probabilities [n, labels]: a class [n] as the bot acts on it, or 0/1 [n, labels]."""
        if self.label_thresholds is not None:
            return np.asarray(probabilities >= self.label_thresholds, np.int64)
        if self.outside is None:
            return np.asarray(probabilities.argmax(1))
        scores = probabilities.copy()
        scores[:, self.outside] = -1
        return np.where(scores.max(1) >= self.threshold, scores.argmax(1), self.outside)


def calibrate(
    logits: NDArray[np.float32],
    targets: NDArray[np.int64] | NDArray[np.float32],
    space: LabelSpace,
    config: ClassifyConfig,
) -> Calibration:
    """Fit temperature, rejection and thresholds on the logits [n, labels] of the validation part."""
    if space.multi_label:
        temperature = fit_temperature(logits, targets)
        return Calibration(temperature, 0.0, choose_label_thresholds(sigmoid(logits, temperature), targets))
    true = targets.astype(np.int64)
    if config.out_of_scope is None:
        return Calibration(fit_temperature(logits, true), 0.0)
    outside = space.index(config.out_of_scope)
    if not (true == outside).any():
        return Calibration(fit_temperature(logits, true), 0.0, outside=outside)
    level, temperature = fit_rejection(logits, true, outside)
    found = Calibration(temperature, 0.0, outside=outside, level=level)
    arrays = scope_arrays(found.probabilities(logits), true, space, config.out_of_scope)
    return replace(found, threshold=choose_threshold(*arrays, config.out_of_scope_loss))


def _is_multi_label(data: ClassificationData, config: ClassifyConfig) -> bool:
    """Whether texts have several labels: by the separator, or by a JSON list of them in any part."""
    several = next((e for e in (*data.train, *data.valid, *data.test) if len(e.labels) != 1), None)
    if several is not None and config.out_of_scope is not None:
        raise HeadwaterError(
            f"out_of_scope needs a multi-class task, and {several.source or repr(several.text[:40])} has "
            f"{len(several.labels)} labels; leave out out_of_scope, or give each text one label"
        )
    return several is not None or config.label_separator is not None


def keep_apart(data: ClassificationData, config: ClassifyConfig) -> ClassificationData:
    """A validation part from the training part. Raises HeadwaterError when none can be spared."""
    split = split_grouped if config.group_column else split_stratified
    rest, valid = split(data.train, validation_share(config), config.seed)
    if not valid:
        raise HeadwaterError(
            "every class has only one distinct text, so that none can be kept apart for validation; "
            "give at least two texts a class, or name a validation file (--valid)"
        )
    lost = sorted({label for e in valid for label in e.labels} - {label for e in rest for label in e.labels})
    if lost:
        raise HeadwaterError(
            f"no group of column {config.group_column!r} can be kept apart: each holds all examples of a label, "
            f"such as {lost[0]!r}; name a validation file (--valid)"
        )
    return replace(data, train=rest, valid=valid)


def _label_space(train: Sequence[TextExample], multi_label: bool, out_of_scope: str | None) -> LabelSpace:
    """The labels of the training part, and the out-of-scope label also where no training text has it."""
    space = LabelSpace.from_examples(train, multi_label)
    if out_of_scope is None or out_of_scope in space.names:
        return space
    return LabelSpace(tuple(sorted((*space.names, out_of_scope))), multi_label)


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
    thresholds = {"out_of_scope": calibrated.threshold} if calibrated.threshold else {}
    if calibrated.label_thresholds is not None:
        thresholds = dict(zip(space.names, calibrated.label_thresholds.tolist(), strict=True))
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
        rejection_logit=calibrated.level,
        thresholds=thresholds,
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
    logits = task.logits(task.tokens(examples).ids, "fp32")
    true = space.encode(examples)
    probabilities = calibrated.probabilities(logits)
    predicted = calibrated.decide(probabilities) if space.multi_label else probabilities.argmax(1)
    averages, by_class = f1_intervals(true, predicted, space)
    scores: dict[str, Any] = {
        "report": {
            **classification_report(true, predicted, space).to_json(),
            "f1_intervals": {name: [found.low, found.high] for name, found in by_class.items()},
        },
        "examples": len(examples),
        "probabilities": probabilities,
        "true": true,
        "predicted": predicted,
        **{f"{name}_interval": found.__dict__ for name, found in averages.items()},
    }
    if space.multi_label:
        errors = label_calibration_errors(probabilities, true)
        scores["exact_match"] = accuracy_interval((predicted == (true > 0.5)).all(1)).__dict__
        scores["report"]["calibration_errors"] = dict(zip(space.names, errors.tolist(), strict=True))
        scores["calibration_error"] = float(errors.mean())
        return scores
    true = true.astype(np.int64)
    right = predicted == true
    scores["accuracy"] = accuracy_interval(right).__dict__
    scores["calibration_error"] = expected_calibration_error(probabilities.max(1), right)
    if manifest.out_of_scope_label is not None:
        arrays = scope_arrays(probabilities, true, space, manifest.out_of_scope_label)
        scores["scope"] = scope_score(*arrays, calibrated.threshold).__dict__
    return scores


def _summary(score: dict[str, Any]) -> dict[str, Any]:
    kept = {k: value for k, value in score.items() if k not in ("report", "probabilities", "true", "predicted")}
    report = score["report"]
    return {
        **kept,
        "macro_f1": report["macro_f1"],
        "weighted_f1": report["weighted_f1"],
        "micro_f1": report["micro_f1"],
    }


def _write_adapter(folder: Path, adapters: dict[str, torch.Tensor], classes: torch.Tensor, bias: torch.Tensor) -> None:
    """The adapter with its head, half precision, as the starters keep it."""
    from safetensors.torch import save_file

    tensors = {name: value.half().contiguous() for name, value in adapters.items()}
    tensors |= {"head.classes": classes.detach().half(), "head.bias": bias.detach().half()}
    save_file(tensors, folder / "adapter.safetensors")
