"""One typed configuration a task: its fields are the flags, the YAML keys and the arguments of the Python call."""

import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from headwater.errors import HeadwaterError

METHODS = ("full", "lora", "head")
PRECISIONS = ("auto", "bf16", "fp32")
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def _option(default: Any, help_text: str, *, path: bool = False) -> Any:
    """A field with its help; `path`: its value is a file or folder, and so is its flag's (click.Path)."""
    return field(default=default, metadata={"help": help_text, "path": path})


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """What every task shares. Learning rates were chosen on a validation part of banking77 with minilm."""

    train: str | None = _option(None, "training file: csv, tsv, jsonl or parquet", path=True)
    valid: str | None = _option(
        None, "validation file; without one a stratified tenth of the training file is used", path=True
    )
    test: str | None = _option(None, "test file, scored once at the end", path=True)
    output: str = _option("", "run folder: run.json, report.json, checkpoints/, bundle/", path=True)
    base: str = _option(
        "auto",
        "catalog name, hub id, folder, or own bundle (run folder, name@version); auto: minilm for English texts, "
        "multilingual for others",
    )
    method: str = _option("full", "full, lora (adapters of low rank, merged at the end), or head (frozen encoder)")
    epochs: int = _option(8, "passes over the training examples")
    learning_rate: float = _option(0.0, "peak learning rate; 0: 1e-4 for full, 1e-3 for lora, 1e-2 for head")
    batch_size: int = _option(32, "examples a step")
    accumulation: int = _option(1, "steps whose gradients are added before the weights change")
    warmup: float = _option(0.1, "share of the steps in which the learning rate rises")
    weight_decay: float = _option(0.01, "decoupled weight decay, on matrices only")
    max_length: int = _option(0, "longest text in tokens; 0: from the data, so that 99.5 % fit")
    truncation_limit: float = _option(0.05, "largest share of texts that may be cut off")
    seed: int = _option(0, "seed of everything random")
    precision: str = _option("auto", "auto (bf16 where the processor has it), bf16 or fp32")
    patience: int = _option(3, "epochs without a better validation metric before stopping; 0: never stop early")
    validation_share: float = _option(0.1, "share of the training file used as validation when none is named")
    group_column: str | None = _option(None, "column of what must not be torn apart by the validation split")
    lora_rank: int = _option(8, "rank of the adapters")
    lora_alpha: int = _option(16, "scale of the adapters: alpha / rank multiplies their product")
    lora_dropout: float = _option(0.05, "dropout before the adapters")
    tune_embeddings: bool = _option(False, "also tune the word table (slow, seldom better)")
    threads: int = _option(0, "compute threads; 0: one per core")
    checkpoint_minutes: float = _option(2.0, "minutes between checkpoints")

    def __post_init__(self) -> None:
        _one_of("method", self.method, METHODS)
        _one_of("precision", self.precision, PRECISIONS)
        for name in ("epochs", "batch_size", "accumulation", "lora_rank", "lora_alpha"):
            if getattr(self, name) < 1:
                raise HeadwaterError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("warmup", "truncation_limit", "validation_share", "lora_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise HeadwaterError(f"{name} must lie in [0, 1), not {getattr(self, name)}")
        if self.learning_rate < 0:
            raise HeadwaterError(f"learning_rate must not be negative, and is {self.learning_rate}")

    @property
    def rate(self) -> float:
        """The peak learning rate, the method's own where none was named."""
        return self.learning_rate or {"full": 1e-4, "lora": 1e-3, "head": 1e-2}[self.method]


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig(TuneConfig):
    """Sequence classification: multi-class, or multi-label with a separator."""

    text_column: str = _option("text", "column with the text")
    label_column: str = _option("label", "column with the label")
    label_separator: str | None = _option(None, "separator of several labels in one cell; makes the task multi-label")
    class_weights: bool = _option(False, "weigh classes inversely to their frequency")
    label_smoothing: float = _option(0.0, "share of the target spread over all classes")
    start: str | None = _option(None, "adapter.safetensors of a LoRA run of the same base to go on from", path=True)
    scale: float = _option(20.0, "factor on the cosine between text and class vectors")
    head_rate: float = _option(10.0, "learning rate of the head, as a multiple of the encoder's")
    prototypes: bool = _option(True, "start the class vectors at the mean embedding of their examples")
    label_texts: bool = _option(False, "also train on the label names as texts; helps with few examples a class")
    r_drop: float = _option(0.0, "weight of the agreement of two dropout passes (R-Drop, arXiv 2106.14448)")
    out_of_scope: str | None = _option(None, "label of texts outside; a threshold for them is chosen on validation")
    out_of_scope_loss: float = _option(0.01, "in-scope accuracy that the out-of-scope threshold may cost")
    metric: str = _option(
        "auto",
        "validation metric to select on and to judge int8 by: accuracy (with several labels: all of them right), "
        "macro_f1 or micro_f1; auto: accuracy, with several labels micro_f1",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of("metric", self.metric, ("auto", "accuracy", "macro_f1", "micro_f1"))
        if self.label_separator is not None and self.out_of_scope is not None:
            raise HeadwaterError("out_of_scope needs a multi-class task; leave out label_separator or out_of_scope")
        if self.start and self.method != "lora":
            raise HeadwaterError(f"start names an adapter, and the method is {self.method}; use method lora")
        if not 0 <= self.label_smoothing < 1:
            raise HeadwaterError(f"label_smoothing must lie in [0, 1), not {self.label_smoothing}")

    def metric_for(self, multi_label: bool) -> str:
        """The metric by its name, the task's own where none was named."""
        if self.metric == "auto":
            return "micro_f1" if multi_label else "accuracy"
        return self.metric


@dataclass(frozen=True, kw_only=True)
class BiEncoderConfig(TuneConfig):
    """A bi-encoder on query-passage pairs: in-batch negatives, and hard ones where the file or mining gives them."""

    query_column: str = _option("query", "column with the query")
    positive_column: str = _option("positive", "column with a passage that answers it")
    negative_column: str | None = _option(None, "column with passages that do not (one text or a JSON list)")
    mine_negatives: int = _option(0, "hard negatives a query, mined from the other passages before training")
    symmetric: bool = _option(False, "also draw each passage to its query, among the queries of the batch")
    temperature: float = _option(0.05, "softmax temperature of the in-batch loss")
    epochs: int = _option(3, "passes over the training pairs")
    learning_rate: float = _option(0.0, "peak learning rate; 0: 2e-5 for full, 2e-4 for lora")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method == "head":
            raise HeadwaterError("a bi-encoder has no head to tune; use method full or lora")
        if self.mine_negatives < 0:
            raise HeadwaterError(f"mine_negatives must not be negative, and is {self.mine_negatives}")
        if self.temperature <= 0:
            raise HeadwaterError(f"temperature must be positive, not {self.temperature}")

    @property
    def rate(self) -> float:
        return self.learning_rate or {"full": 2e-5, "lora": 2e-4}[self.method]


def validation_share(config: TuneConfig) -> float:
    """The share that is split off for validation. Raises HeadwaterError when it is 0 although no file is named."""
    if config.validation_share == 0:
        raise HeadwaterError(
            "--validation-share 0 leaves no example to choose the best epoch on; "
            "give a share such as 0.1, or name a validation file (--valid)"
        )
    return config.validation_share


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise HeadwaterError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys of a YAML configuration. Raises HeadwaterError when it is no mapping."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise HeadwaterError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise HeadwaterError(f"{path} must hold keys and values, such as `epochs: 5`")
    return {str(key).replace("-", "_"): value for key, value in values.items()}


def make_config(kind: type[TuneConfig], values: dict[str, Any], place: str) -> TuneConfig:
    """A configuration from untyped values, such as YAML's, which reads 1e-4 as a text.

    Raises HeadwaterError naming `place`, the key and its value when a key is unknown or a value has the wrong type.
    """
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise HeadwaterError(f"{place}: unknown key {unknown[0]!r}; there are: {', '.join(sorted(known))}")
    hints = get_type_hints(kind)
    typed = {key: _typed(hints[key], value, f"{place}: {key}") for key, value in values.items()}
    try:
        return kind(**typed)
    except HeadwaterError as error:
        raise HeadwaterError(f"{place}: {error}") from error


def _typed(hint: Any, value: Any, name: str) -> Any:
    wanted = next(part for part in get_args(hint) or (hint,) if part is not type(None))
    try:
        found = TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        raise HeadwaterError(f"{name} must be {_KINDS[wanted]}, not {value!r}") from error
    if (isinstance(value, bool) and wanted is not bool) or (isinstance(found, float) and not math.isfinite(found)):
        raise HeadwaterError(f"{name} must be {_KINDS[wanted]}, not {value!r}")
    return found


def resolved(config: TuneConfig) -> dict[str, Any]:
    """The configuration with every default filled in, as it is saved with the run."""
    return {**asdict(config), "learning_rate": config.rate}
