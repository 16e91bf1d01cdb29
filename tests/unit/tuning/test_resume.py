"""A run that was interrupted and goes on in another process ends as one that was not; one that is over stays over."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from headwater.data import LabelSpace, read_texts
from headwater.models import BaseModel
from headwater.models.description import read_description
from headwater.progress import Step
from headwater.tuning.checkpoints import save_weights
from headwater.tuning.classification import ClassificationTask
from headwater.tuning.config import ClassifyConfig
from headwater.tuning.training import Outcome, train

VARIANTS = {
    "lora": {"method": "lora", "lora_dropout": 0.1},
    "bf16": {"precision": "bf16"},
    "accumulation": {"batch_size": 4, "accumulation": 3},
}


class _Stop(Exception):
    pass


def run(base: Path, rows: Path, folder: Path, stop_at: int | None = None, **changes: object) -> Outcome:
    """Train three epochs of five or more steps and keep the final weights; `stop_at` breaks off after that step."""
    torch.set_num_threads(1)
    examples = read_texts(rows).examples
    values = {"epochs": 3, "batch_size": 16, "precision": "fp32", "learning_rate": 3e-3, "checkpoint_minutes": 0.0}
    config = ClassifyConfig(**{**values, **changes})
    space = LabelSpace.from_examples(examples, False)
    task = ClassificationTask(read_description(base), config, space, examples[:72], examples[72:])

    def progress(step: Step) -> None:
        if step.done == stop_at:
            raise _Stop  # as a crash would: what lies on disk is the last checkpoint

    outcome = train(task.task(), config, folder, progress)
    save_weights(folder / "final.safetensors", task.model)
    return outcome


def test_lora_bf16_and_accumulation_go_on_bit_for_bit_in_another_process(
    tiny_base: BaseModel, labelled: Path, tmp_path: Path
) -> None:
    for name, changes in VARIANTS.items():
        run(tiny_base.path, labelled, tmp_path / f"{name}-whole", **changes)
        with pytest.raises(_Stop):
            run(tiny_base.path, labelled, tmp_path / f"{name}-cut", stop_at=8, **changes)

    command = [sys.executable, __file__, str(tiny_base.path), str(labelled), str(tmp_path)]
    resumed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert all(resumed[name] > 0 for name in VARIANTS)
    for name in VARIANTS:
        whole, cut = (load_file(tmp_path / f"{name}-{part}" / "final.safetensors") for part in ("whole", "cut"))
        assert all(torch.equal(whole[key], cut[key]) for key in whole), name


def test_a_run_that_early_stopping_ended_trains_no_further_epoch(
    tiny_base: BaseModel, labelled: Path, tmp_path: Path
) -> None:
    # A rate that changes nothing: the first epoch stays the best, and patience ends after the second.
    outcomes = [
        run(tiny_base.path, labelled, tmp_path / "run", epochs=9, patience=1, learning_rate=1e-12) for _ in range(2)
    ]

    assert [len(outcome.metrics) for outcome in outcomes] == [2, 2]
    assert outcomes[0].steps == outcomes[1].steps == outcomes[1].resumed_at
    assert outcomes[1].seconds >= outcomes[0].seconds > 0


if __name__ == "__main__":
    base, rows, folder = map(Path, sys.argv[1:])
    steps = {name: run(base, rows, folder / f"{name}-cut", **VARIANTS[name]).resumed_at for name in VARIANTS}
    print(json.dumps(steps))
