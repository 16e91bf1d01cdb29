"""Starters that were tuned in two stages: what is kept is one adapter, and says nothing of where it was made."""

import json
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import load_file, save_file

from headwater.bundles import Manifest
from headwater.tuning.starters import keep_adapter


def run_folder(path: Path, rank: int, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    tensors = {
        "layer.A": torch.randn(rank, 6),
        "layer.B": torch.randn(4, rank),
        "head.classes": torch.randn(3, 4),
    }
    path.mkdir()
    save_file(tensors, path / "adapter.safetensors")
    (path / "report.json").write_text(json.dumps({"config": {"base": "somewhere", "output": str(path)}}))
    return tensors


def run_of(base: str, digest: str) -> SimpleNamespace:
    manifest = Manifest(
        kind="classifier", model="model.onnx", labels=("a", "b", "c"), base=base, base_sha256=digest,
        config={"base": base, "output": "/somewhere/else", "scale": 20.0},
    )  # fmt: skip
    return SimpleNamespace(bundle=SimpleNamespace(manifest=manifest))


def test_a_starter_keeps_the_adapter_and_not_where_it_was_made(tmp_path: Path) -> None:
    kept = tmp_path / "starter"
    kept.mkdir()
    made = run_folder(tmp_path / "one", 2, 0)
    keep_adapter(run_of("minilm", "abc"), tmp_path / "one", kept, "model", ["own texts"])
    found = load_file(kept / "model.safetensors")
    assert all(torch.equal(found[key], value) for key, value in made.items()) and found.keys() == made.keys()
    stored = json.loads((kept / "model.json").read_text())
    assert (stored["base"], stored["base_sha256"], stored["sources"]) == ("minilm", "abc", ["own texts"])
    report = json.loads((kept / "model.report.json").read_text())
    assert stored["config"]["output"] == report["config"]["output"] == ""
    assert report["config"]["base"] == "minilm"
