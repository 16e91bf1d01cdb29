"""Starters: an adapter and a manifest small enough to ship, made by a recipe, merged into a bundle at first start."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from headwater.bundles import Bundle, Manifest
from headwater.data import TextExample
from headwater.errors import HeadwaterError
from headwater.models import BaseModel, resolve_base
from headwater.settings import Settings
from headwater.tuning.runs import Run

# What belongs to one export and not to the model as it was tuned.
_OF_THE_EXPORT = ("files", "quantisation", "parity", "word_table", "cpu_flags", "model")


def keep_adapter(run: Run, output: Path, folder: Path, name: str, sources: Sequence[str]) -> None:
    """Keep a LoRA run (its folder: `output`) as the starter `name`: NAME.safetensors, NAME.json, NAME.report.json."""
    manifest = asdict(run.bundle.manifest)
    for key in _OF_THE_EXPORT:
        manifest.pop(key)
    manifest |= {"licence": "Apache-2.0", "sources": list(sources)}
    report = json.loads((output / "report.json").read_text(encoding="utf-8"))
    shutil.copyfile(output / "adapter.safetensors", folder / f"{name}.safetensors")
    # Where it was made is nobody's business, and no longer there.
    for config in (manifest["config"], report["config"]):
        config |= {"base": manifest["base"], "output": "", "start": None}
    text = json.dumps(manifest, indent=1, ensure_ascii=False, sort_keys=True)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    text = json.dumps(report, indent=1, ensure_ascii=False)
    (folder / f"{name}.report.json").write_text(text + "\n", encoding="utf-8")


def merge_adapter(
    folder: Path, name: str, base_name: str, output: Path, settings: Settings, valid: Sequence[TextExample]
) -> Bundle:
    """Base model + adapter → classifier bundle; int8 is judged on `valid`.

    Raises HeadwaterError when the adapter belongs to another base.
    """
    import torch

    from headwater.tuning.classification import TextClassifier
    from headwater.tuning.encoding import SentenceEncoder
    from headwater.tuning.export.classifier import Judge, export_classifier

    base, backbone, stored, tensors = _merged(folder, name, base_name, settings)
    for key in ("labels", "sources"):
        stored[key] = tuple(stored[key])
    manifest = Manifest(model="model.onnx", **stored)
    space = manifest.label_space
    model = TextClassifier(
        SentenceEncoder(backbone, base.pooling), len(manifest.labels), stored["config"]["scale"], space.multi_label
    )
    with torch.no_grad():
        model.classes.copy_(tensors["head.classes"].float())
        if "head.bias" in tensors:
            model.bias.copy_(tensors["head.bias"].float())
    judge = Judge([example.text for example in valid], _score(manifest, valid))
    report = json.loads((folder / f"{name}.report.json").read_text(encoding="utf-8"))
    return export_classifier(
        model, backbone, base, output, manifest, judge, with_weights=False, with_float=False, report=report
    )


def merged_base(folder: Path, name: str, base_name: str, output: Path, settings: Settings) -> BaseModel:
    """A starter's backbone as a base model of its own in `output`, for tuning that goes on from it.

    Raises HeadwaterError when the adapter belongs to another base.
    """
    from safetensors.torch import save_file

    base, backbone, _, _ = _merged(folder, name, base_name, settings)
    weights = {key: value.contiguous() for key, value in backbone.state_dict().items()}
    shutil.copytree(base.path, output, ignore=shutil.ignore_patterns("*.safetensors", "*.onnx"))
    save_file(weights, output / "model.safetensors", metadata={"format": "pt"})
    digest = hashlib.sha256((output / "model.safetensors").read_bytes()).hexdigest()
    merged = replace(base, name=f"{base.name}+{name}", path=output, sha256=digest)
    merged.write()
    return merged


def _merged(
    folder: Path, name: str, base_name: str, settings: Settings
) -> tuple[BaseModel, Any, dict[str, Any], dict[str, Any]]:
    """The base model, its backbone with the adapter merged, the starter's manifest, the adapter's tensors."""
    from safetensors.torch import load_file

    from headwater.tuning.encoding import load_backbone
    from headwater.tuning.methods.lora import merge_adapters

    tensors = load_file(folder / f"{name}.safetensors")
    stored = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    base = resolve_base(base_name, settings)
    if stored["base_sha256"] != base.sha256:
        raise HeadwaterError(f"the starter {name} was tuned on another {base.name}; run: make starters")
    backbone = load_backbone(base)
    merge_adapters(backbone, {key: value for key, value in tensors.items() if not key.startswith("head.")})
    return base, backbone, stored, tensors


def _score(manifest: Manifest, valid: Sequence[TextExample]) -> Any:
    true = manifest.label_space.encode(valid)
    if not manifest.label_space.multi_label:
        return lambda logits: float((np.asarray(logits).argmax(1) == true).mean())

    def micro_f1(logits: Any) -> float:
        said = np.asarray(logits) > 0
        held = np.asarray(true, float) > 0.5
        return float(2 * (said & held).sum() / max(1, said.sum() + held.sum()))

    return micro_f1
