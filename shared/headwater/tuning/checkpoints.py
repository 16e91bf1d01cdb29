"""Checkpoints as safetensors and JSON: trainable weights, optimiser moments, random state, place in the data."""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from headwater.errors import HeadwaterError


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands: epoch and batch to go on with, steps, weight updates and seconds done, the curve so far."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    update: int = 0
    loss_sum: float = 0.0
    best_epoch: int = 0
    metrics: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the trainable weights in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    save_file({name: p.detach().contiguous() for name, p in trainable(model).items()}, partial)
    partial.replace(path)


def load_weights(path: Path, model: nn.Module) -> None:
    """Put weights written by `save_weights` back. Raises HeadwaterError when they are another model's."""
    stored = load_file(path)
    own = trainable(model)
    if stored.keys() != own.keys():
        raise HeadwaterError(
            f"{path} belongs to another model or method; remove the run folder or name another --output"
        )
    with torch.no_grad():
        for name, parameter in own.items():
            if stored[name].shape != parameter.shape:
                raise HeadwaterError(
                    f"{path}: {name} has another shape; remove the run folder or name another --output"
                )
            parameter.copy_(stored[name])


def save_checkpoint(folder: Path, state: Checkpoint, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Replace the last checkpoint; a crash in between leaves the one before."""
    partial = folder / "last.part"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_weights(partial / "weights.safetensors", model)
    save_file(_moments(model, optimiser) | {"random": torch.get_rng_state()}, partial / "optimiser.safetensors")
    (partial / "state.json").write_text(json.dumps(asdict(state)))
    final, old = folder / "last", folder / "last.old"
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        os.rename(final, old)  # noqa: PTH104 - renaming over a folder is not possible in one call
    partial.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> Checkpoint | None:
    """Restore the last checkpoint into model, optimiser and random state; None when there is none."""
    place = next((p for p in (folder / "last", folder / "last.old") if (p / "state.json").is_file()), None)
    if place is None:
        return None
    load_weights(place / "weights.safetensors", model)
    stored = load_file(place / "optimiser.safetensors")
    for name, parameter in trainable(model).items():
        parts = {key.split("|")[1]: value for key, value in stored.items() if key.split("|")[0] == name}
        if parts:
            optimiser.state[parameter] = parts
    torch.set_rng_state(stored["random"])
    return Checkpoint(**json.loads((place / "state.json").read_text()))


def _moments(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, parameter in trainable(model).items():
        state: dict[str, Any] = optimiser.state.get(parameter, {})
        tensors |= {f"{name}|{key}": value.contiguous() for key, value in state.items()}
    return tensors
