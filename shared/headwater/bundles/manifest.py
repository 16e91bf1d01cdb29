"""What a bundle says of itself: `manifest.json`."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from headwater.data import LabelSpace
from headwater.errors import HeadwaterError

SCHEMA_VERSION = 1
KINDS = ("encoder", "classifier", "tagger", "span", "cross-encoder", "generator", "ranker", "matrix")


@dataclass(frozen=True)
class Manifest:
    """The description of a bundle; `files` maps each relative path to its sha256 and is filled in when it is written.

    `thresholds` may hold "out_of_scope": the least in-scope probability that is accepted; of a multi-label classifier
    they are by label the probability from which it is said. `rejection_logit` is the level that the out-of-scope logit
    is raised to before the temperature (headwater.evaluation.with_rejection). `model` is the file that the serving
    runtime runs, and `word_table` its initializer that lies in a file of its own: {"initializer", "dtype", "shape",
    "file"}. `metrics` holds {name: {"value", "low", "high"}}.
    """

    kind: str
    model: str
    base: str
    base_sha256: str = ""
    language: str = "en"
    labels: tuple[str, ...] = ()
    multi_label: bool = False
    out_of_scope_label: str | None = None
    pooling: str = "mean"
    prefixes: dict[str, str] = field(default_factory=dict)
    max_length: int = 256
    dimension: int = 0
    temperature: float = 1.0
    rejection_logit: float | None = None
    thresholds: dict[str, float] = field(default_factory=dict)
    data_fingerprint: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    code_version: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)
    quantisation: dict[str, Any] = field(default_factory=dict)
    word_table: dict[str, Any] = field(default_factory=dict)
    licence: str = "unknown"
    sources: tuple[str, ...] = ()
    cpu_flags: tuple[str, ...] = ()
    created: str = ""
    files: dict[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise HeadwaterError(f"a bundle's kind is one of {', '.join(KINDS)}, not {self.kind!r}")
        if not self.temperature > 0:
            raise HeadwaterError(f"a bundle's temperature is above 0, not {self.temperature}")
        if self.rejection_logit is not None and self.out_of_scope_label not in self.labels:
            raise HeadwaterError(
                f"a bundle with a rejection_logit has its out_of_scope_label among its labels, not "
                f"{self.out_of_scope_label!r}"
            )

    @property
    def a_kind(self) -> str:
        """The kind with its article, for messages."""
        return f"{'an' if self.kind == 'encoder' else 'a'} {self.kind}"

    @property
    def label_space(self) -> LabelSpace:
        return LabelSpace(self.labels, self.multi_label)

    def to_text(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def read_manifest(text: str, place: str) -> Manifest:
    """Parse `manifest.json`. Raises HeadwaterError when it is not one, or of a newer schema."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise HeadwaterError(f"{place} is not JSON ({error}); export or fetch the bundle again") from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if not isinstance(version, int):
        raise HeadwaterError(f"{place} has no schema_version; it is no bundle's manifest")
    if version > SCHEMA_VERSION:
        raise HeadwaterError(
            f"{place} has schema version {version}, this installation reads up to {SCHEMA_VERSION}; upgrade Headwater"
        )
    unknown = set(values) - {f.name for f in fields(Manifest)}
    if unknown:
        raise HeadwaterError(f"{place} has fields that schema {version} does not know: {', '.join(sorted(unknown))}")
    try:
        manifest: Manifest = TypeAdapter(Manifest).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        field_name = ".".join(str(part) for part in first["loc"])
        found = "" if first["type"] == "missing" else f" {first['input']!r}"
        raise HeadwaterError(f"{place}: {field_name}{found}: {first['msg']}; export the bundle again") from error
    except HeadwaterError as error:
        raise HeadwaterError(f"{place}: {error}") from error
    return manifest
