"""A bundle is written whole, opened verified, and refused with the file and the reason."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headwater.bundles import Bundle, Manifest, find_bundle, open_bundle, write_bundle
from headwater.bundles.manifest import SCHEMA_VERSION
from headwater.errors import Conflict, HeadwaterError, NotFound
from headwater.settings import Settings

MakeBundle = Callable[..., Bundle]


def edit_manifest(bundle: Bundle, **changes: Any) -> None:
    path = bundle.file("manifest.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_bundle_comes_back_as_it_was_written(make_bundle: MakeBundle) -> None:
    made = make_bundle(
        labels=("退款", "b"),
        thresholds={"out_of_scope": 0.4},
        prefixes={"query": "query: "},
        metrics={"accuracy": {"value": 0.9, "low": 0.8, "high": 1.0}},
        sources=("banking77",),
    )
    opened = open_bundle(made.path)
    assert opened == made
    assert opened.manifest.labels == ("退款", "b")
    assert opened.manifest.label_space.index("b") == 1
    assert opened.manifest.created
    assert opened.manifest.code_version
    assert set(opened.manifest.files) == {"model.onnx", "torch/tokenizer.json"}
    assert opened.file("torch/tokenizer.json").read_text() == "{}"


def test_id_is_that_of_the_files_whatever_the_folder(make_bundle: MakeBundle) -> None:
    assert make_bundle("one").id == make_bundle("two").id
    assert make_bundle("three", weights=b"other").id != make_bundle("four").id
    assert re.fullmatch("[0-9a-f]{16}", make_bundle("five").id)


@pytest.mark.parametrize("name", ["model.onnx", "torch/tokenizer.json"])
def test_altered_file_is_named(make_bundle: MakeBundle, name: str) -> None:
    bundle = make_bundle()
    bundle.file(name).write_bytes(b"altered")
    with pytest.raises(HeadwaterError, match=rf"was altered: {name} does not have the sha256 of manifest\.json"):
        open_bundle(bundle.path)


def test_altered_file_of_equal_size_is_named(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(weights=b"weights")
    bundle.file("model.onnx").write_bytes(b"wEights")
    os.utime(bundle.file("model.onnx"), ns=(1, 1))
    with pytest.raises(HeadwaterError, match=r"was altered: model\.onnx"):
        open_bundle(bundle.path)


def test_verified_file_is_not_hashed_again_and_a_copied_bundle_is(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle()
    sidecar = bundle.path.parent / f".{bundle.path.name}.verified"
    remembered = sidecar.stat().st_mtime_ns
    open_bundle(bundle.path)
    assert sidecar.stat().st_mtime_ns == remembered
    sidecar.unlink()
    open_bundle(bundle.path)
    assert sidecar.is_file()


def test_missing_file_is_named(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    bundle.file("model.onnx").unlink()
    with pytest.raises(HeadwaterError, match=r"is incomplete: model\.onnx is missing; export or copy it again"):
        open_bundle(bundle.path)


def test_newer_schema_is_refused_with_the_way_out(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    edit_manifest(bundle, schema_version=SCHEMA_VERSION + 1, something_new=True)
    with pytest.raises(
        HeadwaterError, match=rf"manifest\.json has schema version {SCHEMA_VERSION + 1}.*upgrade Headwater"
    ):
        open_bundle(bundle.path)


@pytest.mark.parametrize("name", ["../outside.json", "/etc/passwd.json", "a/../../b.json", "..\\windows.json"])
def test_path_outside_the_bundle_is_refused(make_bundle: MakeBundle, tmp_path: Path, name: str) -> None:
    bundle = make_bundle()
    (bundle.path.parent / "outside.json").write_text("{}")
    edit_manifest(bundle, files={**bundle.manifest.files, name: "0" * 64})
    with pytest.raises(HeadwaterError, match=r"a bundle's file must lie inside it") as caught:
        open_bundle(bundle.path)
    assert repr(name) in str(caught.value)
    with pytest.raises(HeadwaterError, match="must lie inside"):
        write_bundle(tmp_path / "written", Manifest("encoder", name, "x"), {name: bundle.file("model.onnx")})
    assert not list(tmp_path.glob("*written*"))


def test_link_to_a_file_outside_is_refused(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle()
    outside = tmp_path / "outside.onnx"
    outside.write_bytes(b"weights")
    bundle.file("model.onnx").unlink()
    bundle.file("model.onnx").symlink_to(outside)
    with pytest.raises(HeadwaterError, match=r"model\.onnx.* is a link that leads outside"):
        open_bundle(bundle.path)


@pytest.mark.parametrize("name", ["model.pkl", "model.bin", "model.pt", "run.py", "model"])
def test_format_that_may_hold_code_is_refused(make_bundle: MakeBundle, tmp_path: Path, name: str) -> None:
    bundle = make_bundle()
    with pytest.raises(HeadwaterError, match=rf"a bundle holds no .*\({name}\)"):
        write_bundle(tmp_path / "written", Manifest("encoder", name, "x"), {name: bundle.file("model.onnx")})
    edit_manifest(bundle, files={**bundle.manifest.files, name: "0" * 64})
    with pytest.raises(HeadwaterError, match=rf"a bundle holds no .*\({name}\)"):
        open_bundle(bundle.path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not json", "is not JSON"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b"[1]", "has no schema_version"),
        (b'{"schema_version": "1"}', "has no schema_version"),
        (b'{"schema_version": 1, "kind": "classifier"}', "model: Field required"),
        (b'{"schema_version": 1, "kind": "virus", "model": "m", "base": "b"}', "kind is one of encoder, classifier"),
        (b'{"schema_version": 1, "kind": "encoder", "model": "m", "base": "b", "colour": 1}', "does not know: colour"),
        (
            b'{"schema_version": 1, "kind": "encoder", "model": "m", "base": "b", "labels": 3}',
            "labels 3: Input should be",
        ),
        (
            b'{"schema_version": 1, "kind": "encoder", "model": "m", "base": "b", "files": ["m"]}',
            r"files \['m'\]: Input should be",
        ),
        (
            b'{"schema_version": 1, "kind": "encoder", "model": "m", "base": "b", "max_length": "9"}',
            "max_length '9': Input should be",
        ),
        (
            b'{"schema_version": 1, "kind": "encoder", "model": "m", "base": "b", "temperature": 0}',
            "temperature is above 0, not 0",
        ),
        (b'{"schema_version": 1, "kind": "encoder", "model": "m", "base": "b"}', "names the model file 'm'"),
    ],
)
def test_manifest_that_is_none_is_refused_with_its_place(make_bundle: MakeBundle, content: bytes, reason: str) -> None:
    bundle = make_bundle()
    bundle.file("manifest.json").write_bytes(content)
    with pytest.raises(HeadwaterError, match=reason) as caught:
        open_bundle(bundle.path)
    assert "manifest.json" in str(caught.value)


def test_existing_folder_is_never_overwritten(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    with pytest.raises(Conflict, match="exists already; bundles are immutable"):
        make_bundle(weights=b"other")
    assert open_bundle(bundle.path) == bundle


def test_failed_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    files = {"a.json": tmp_path / "a.json", "b.json": tmp_path / "missing.json"}
    with pytest.raises(FileNotFoundError):
        write_bundle(tmp_path / "out" / "bundle", Manifest("encoder", "a.json", "x"), files)
    assert list((tmp_path / "out").iterdir()) == []


def test_run_folder_bundle_folder_and_nothing_are_told_apart(make_bundle: MakeBundle, settings: Settings) -> None:
    bundle = make_bundle()
    run = settings.home / "run"
    run.mkdir()
    bundle.path.rename(run / "bundle")
    assert find_bundle(str(run), settings).id == bundle.id
    assert find_bundle(str(run / "bundle"), settings).id == bundle.id
    with pytest.raises(NotFound, match="holds neither a bundle"):
        find_bundle(str(settings.home), settings)
    with pytest.raises(NotFound, match="no bundle is registered as 'nothing'"):
        find_bundle("nothing", settings)


def test_bundle_in_a_read_only_place_is_verified_each_time(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    (bundle.path.parent / f".{bundle.path.name}.verified").unlink()
    (bundle.path.parent / f".{bundle.path.name}.verified").mkdir()  # nothing can be remembered here
    assert open_bundle(bundle.path) == bundle
    bundle.file("model.onnx").write_bytes(b"altered")
    with pytest.raises(HeadwaterError, match="was altered"):
        open_bundle(bundle.path)
