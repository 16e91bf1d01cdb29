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


def test_a_second_stage_is_kept_as_the_sum_of_both(tmp_path: Path) -> None:
    kept = tmp_path / "starter"
    kept.mkdir()
    first = run_folder(tmp_path / "one", 2, 0)
    second = run_folder(tmp_path / "two", 3, 1)
    keep_adapter(run_of("minilm", "abc"), tmp_path / "one", kept, "model", ["own texts"])
    keep_adapter(run_of("/tmp/merged", "def"), tmp_path / "two", kept, "model", ["own texts"], onto=True)
    found = load_file(kept / "model.safetensors")
    assert found["layer.A"].shape == (5, 6) and found["layer.B"].shape == (4, 5)
    both = first["layer.B"] @ first["layer.A"] + second["layer.B"] @ second["layer.A"]
    torch.testing.assert_close(found["layer.B"] @ found["layer.A"], both)
    assert torch.equal(found["head.classes"], second["head.classes"])
    stored = json.loads((kept / "model.json").read_text())
    assert (stored["base"], stored["base_sha256"]) == ("minilm", "abc")
    report = json.loads((kept / "model.report.json").read_text())
    assert stored["config"]["output"] == report["config"]["output"] == ""
    assert report["config"]["base"] == "minilm"
    assert not list(kept.glob("*.part"))
