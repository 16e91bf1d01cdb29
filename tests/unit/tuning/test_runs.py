"""The run folder: what may be started in it, and the rows that a run could not use."""

from pathlib import Path

import pytest

from headwater.data import RowProblem
from headwater.errors import Conflict
from headwater.tuning.config import ClassifyConfig
from headwater.tuning.runs import open_run_folder, say_problems


def test_a_folder_is_bound_to_its_settings_from_the_first_checkpoint_on(tmp_path: Path) -> None:
    def start(epochs: int) -> Path:
        return open_run_folder(ClassifyConfig(output=str(tmp_path / "run"), epochs=epochs), "sha256:0")

    start(3)
    folder = start(4)
    (folder / "checkpoints" / "last").mkdir(parents=True)
    (folder / "checkpoints" / "last" / "state.json").write_text("{}")
    assert start(4) == folder
    with pytest.raises(Conflict, match="interrupted run with other settings"):
        start(3)


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(Conflict, match="is not empty and holds no run"):
        open_run_folder(ClassifyConfig(output=str(tmp_path)), "sha256:0")


def test_twenty_unusable_rows_are_named_and_the_others_counted() -> None:
    said: list[str] = []
    say_problems([RowProblem("a.csv", row, "column 'text' is empty") for row in range(1, 31)], said.append)
    assert len(said) == 21
    assert said[0] == "not used: a.csv:1: column 'text' is empty"
    assert said[-1] == "not used: 10 more rows; report.json names them"
