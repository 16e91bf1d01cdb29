"""torch, ONNX float32 and ONNX int8 give the same vectors on every shape that serving sends."""

import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headwater.bundles import open_bundle
from headwater.errors import HeadwaterError
from headwater.serving import MicroBatcher, load_encoder
from headwater.tuning.export.encoder import LEAST_COSINE

pytestmark = pytest.mark.models
Exported = Any

TEXTS = (
    "refund",
    "How long does a refund take?",
    "My parcel has been in transit since Monday and the tracking page still shows the depot in Leeds.",
    "The zip of the tent's inner door jammed on the second night; do I send back the whole tent or only the inner?",
    "退款需要多长时间？",
    "我上周买的登山鞋尺码不合适，想换大一号，请问运费由谁承担？",
    "Can I pay by invoice, and which address do you need for a VAT number in another country?",
    "ok",
)
# Rounding of another order of summation. A word table kept as int8 (multilingual) turns vectors by less than .1 degree.
LARGEST_DIFFERENCE = {"minilm": 1e-5, "multilingual": 5e-3}
# int8 scales activations by the largest of the batch, so neighbours move a vector a little, and most that of a single
# word, which has nothing to average over ("ok": .952 with minilm).
LEAST_COSINE_BATCHED = 0.94
# (batch, tokens); None: as many as the model takes.
SHAPES = [(1, 1), (1, 3), (1, 16), (1, None), (2, 7), (8, 16), (8, 128), (32, 24), (3, None)]


@pytest.mark.parametrize(("rows", "tokens"), SHAPES)
@pytest.mark.parametrize("name", ["minilm", "multilingual"])
def test_three_forms_agree_on_every_shape(
    exported: Callable[[str], Exported], name: str, rows: int, tokens: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    model = exported(name)
    ids, mask = model.batch(TEXTS, rows, tokens)
    reference = model.run("torch", ids, mask)
    plain, small = model.run("float32", ids, mask), model.run("int8", ids, mask)
    difference, cosine = np.abs(plain - reference).max(), (small * reference).sum(1)
    with capsys.disabled():
        print(f"\n{name} {ids.shape}: float32 differs by {difference:.1e}, int8 cosine {cosine.min():.4f}", end="")
    assert np.linalg.norm(small, axis=1) == pytest.approx(np.ones(rows), abs=1e-4)
    assert difference <= LARGEST_DIFFERENCE[name]
    assert cosine.min() >= LEAST_COSINE


@pytest.mark.parametrize("form", ["torch", "float32", "int8"])
@pytest.mark.parametrize("name", ["minilm", "multilingual"])
def test_padding_changes_no_vector(exported: Callable[[str], Exported], name: str, form: str) -> None:
    model = exported(name)
    encoded = [encoding.ids for encoding in model.tokenizer.encode_batch(list(TEXTS))]
    longest = max(map(len, encoded)) + 40
    ids, mask = (np.zeros((len(TEXTS), longest), np.int64) for _ in range(2))
    for row, tokens in enumerate(encoded):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
    padded = model.run(form, ids, mask)
    for row, tokens in enumerate(encoded):
        alone = model.run(form, np.array([tokens]), np.ones((1, len(tokens)), np.int64))[0]
        assert float(alone @ padded[row]) > (LEAST_COSINE_BATCHED if form == "int8" else 1 - 1e-5)


@pytest.mark.parametrize("name", ["minilm", "multilingual"])
def test_int8_keeps_the_order_of_neighbours(exported: Callable[[str], Exported], name: str) -> None:
    """What retrieval needs of the vectors: the nearest text in float32 is the nearest in int8."""
    model = exported(name)
    encoder = load_encoder(model.bundle, 2)
    asked = (
        "When do I get my money back?",
        "where is my package",
        "什么时候能收到退款？",
        "Can I exchange hiking boots?",
    )
    answers = ("A refund takes five days.", "Tracking shows the depot.", "退款五天内到账。", "Boots can be exchanged.")
    found = encoder.encode(asked, "query") @ encoder.encode(answers, "passage").T

    def torch_rows(texts: Sequence[str], kind: str) -> NDArray[np.float32]:
        prefix = model.bundle.manifest.prefixes[kind]
        rows = []
        for text in texts:
            ids = np.array([model.tokenizer.encode(prefix + text).ids])
            rows.append(model.run("torch", ids, np.ones_like(ids))[0])
        return np.array(rows)

    expected = torch_rows(asked, "query") @ torch_rows(answers, "passage").T
    assert np.abs(found - expected).max() < 0.06
    clear = np.sort(expected, axis=1)[:, -1] - np.sort(expected, axis=1)[:, -2] > 0.05
    assert clear.sum() >= 2
    assert (found.argmax(1) == expected.argmax(1))[clear].all()


@pytest.mark.parametrize("name", ["minilm", "multilingual"])
def test_exported_bundle_states_its_parity_and_is_small(exported: Callable[[str], Exported], name: str) -> None:
    bundle = exported(name).bundle
    manifest = bundle.manifest
    assert (manifest.kind, manifest.model, manifest.dimension) == ("encoder", "model.int8.onnx", 384)
    assert manifest.quantisation["accepted"]
    assert manifest.quantisation["cosine_min"] >= LEAST_COSINE
    assert manifest.parity["max_difference"] <= LARGEST_DIFFERENCE[name]
    assert set(manifest.files) == {"model.int8.onnx", "model.int8.onnx.data", "model.onnx", "tokenizer.json"}
    weights = (exported(name).base.path / "model.safetensors").stat().st_size
    served = [bundle.file(name) for name in manifest.files if name.startswith(manifest.model)]
    assert sum(path.stat().st_size for path in served) < weights * 0.65
    # The word table is mapped from its own file; what is left is read into memory.
    assert bundle.file("model.int8.onnx").stat().st_size < 25e6


def test_bundles_with_equal_word_tables_map_one(exported: Callable[[str], Exported], tmp_path: Path) -> None:
    bundle = exported("minilm").bundle
    copied = open_bundle(Path(shutil.copytree(bundle.path, tmp_path / "copy")))
    one, other = load_encoder(bundle, 1), load_encoder(copied, 1)
    assert (one.encode(TEXTS) == other.encode(TEXTS)).all()
    assert one._session.word_table.rows is other._session.word_table.rows
    assert one._session.word_table.rows.nbytes > 40e6


def test_a_word_table_of_another_size_is_named(exported: Callable[[str], Exported], tmp_path: Path) -> None:
    bundle = exported("minilm").bundle
    copied = open_bundle(Path(shutil.copytree(bundle.path, tmp_path / "copy")))
    table = {**copied.manifest.word_table, "shape": [7, 384]}
    broken = replace(copied, manifest=replace(copied.manifest, word_table=table))
    with pytest.raises(HeadwaterError, match=r"model\.int8\.onnx\.data does not hold float32 \[7, 384\]"):
        load_encoder(broken, 1)


def test_calls_joined_across_threads_give_what_single_calls_give(exported: Callable[[str], Exported]) -> None:
    encoder = load_encoder(exported("minilm").bundle, 2)
    alone = encoder.encode([TEXTS[0]]), encoder.encode(TEXTS[1:])
    runs = 0
    lock = threading.Lock()

    def counted(texts: Sequence[str]) -> NDArray[np.float32]:
        nonlocal runs
        with lock:
            runs += 1
        return encoder.encode(texts)

    batcher = MicroBatcher(counted)
    with ThreadPoolExecutor(8) as pool:
        joined = list(pool.map(lambda n: batcher([TEXTS[n % len(TEXTS)]]), range(80)))
    assert runs < 80
    expected = np.concatenate(alone)
    for number, row in enumerate(joined):
        assert float(row[0] @ expected[number % len(TEXTS)]) > LEAST_COSINE_BATCHED


def test_long_text_is_cut_at_the_models_length_and_counted(exported: Callable[[str], Exported]) -> None:
    encoder = load_encoder(exported("minilm").bundle, 2)
    long = "tent pole " * 400
    rows = encoder.encode([long, long + "refund " * 50, "tent"])
    assert encoder.truncated == 2
    assert float(rows[0] @ rows[1]) == pytest.approx(1.0, abs=1e-4)


def test_graph_that_differs_from_torch_is_refused(exported: Callable[[str], Exported], tmp_path: Path) -> None:
    """The gate of the export itself: the reference is another model than the graph."""
    import copy

    import torch

    from headwater.errors import HeadwaterError
    from headwater.tuning.encoding import SentenceEncoder
    from headwater.tuning.export import encoder as module

    model = exported("minilm")

    class Drifting(SentenceEncoder):
        """Computes one thing while it is traced and another in torch."""

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            rows = super().forward(input_ids, attention_mask)
            return rows if torch.jit.is_tracing() else torch.roll(rows, 1, dims=-1)

    drifting = Drifting(copy.deepcopy(model.model.backbone), "mean")
    with pytest.raises(
        HeadwaterError, match=r"the ONNX graph of minilm differs from torch by 0\.\d+ \(at most 0\.001\)"
    ):
        module.export_encoder(model.base, tmp_path / "bundle", encoder=drifting)
    assert not (tmp_path / "bundle").exists()
