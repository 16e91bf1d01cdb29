"""torch, ONNX float32 and ONNX int8 of a tuned classifier give the same logits on every shape that serving sends."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from headwater.data import TextExample
from headwater.serving import load_classifier

pytestmark = pytest.mark.models
Tuned = Any

TEXTS = (
    "When do I get my money back?",
    "Is my parcel still in the depot?",
    "Can you mend the zip of a tent that I bought two years ago?",
    "退款什么时候到账？",
    "帐篷的拉链坏了，请问可以修吗？",
    "refund",
)
# Logits are 20 times a cosine, so these are 20 times the limits of vectors (test_encoders.py).
LARGEST_DIFFERENCE = {"minilm": 2e-4, "multilingual": 0.05}
# int8 moves a logit by up to 1.0 (multilingual, 128 tokens); the two best labels of a clear text lie further apart.
LARGEST_INT8_DIFFERENCE = 1.5
SHAPES = [(1, 1), (1, 3), (1, 16), (2, 7), (8, 24), (3, 128), (2, None)]


@pytest.mark.parametrize(("rows", "tokens"), SHAPES)
@pytest.mark.parametrize("name", ["minilm", "multilingual"])
def test_three_forms_agree_on_every_shape(
    tuned: Callable[[str], Tuned], name: str, rows: int, tokens: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tuned(name)
    ids, mask = model.batch(TEXTS, rows, tokens)
    exact, plain, small = (model.run(form, ids, mask) for form in ("torch", "float32", "int8"))
    differences = [float(np.abs(other - exact).max()) for other in (plain, small)]
    with capsys.disabled():
        print(f"\n{name} {ids.shape}: logits differ by {differences[0]:.1e}, int8 {differences[1]:.2f}", end="")
    assert exact.shape == (rows, 3)
    assert differences[0] <= LARGEST_DIFFERENCE[name]
    assert differences[1] <= LARGEST_INT8_DIFFERENCE


@pytest.mark.parametrize("name", ["minilm", "multilingual"])
def test_texts_are_served_the_labels_that_torch_gives_them(tuned: Callable[[str], Tuned], name: str) -> None:
    model = tuned(name)
    logits = load_classifier(model.bundle).logits(TEXTS)
    exact = model.task.logits(model.task.tokens([TextExample(text) for text in TEXTS]).ids)
    assert logits.argmax(1).tolist() == exact.argmax(1).tolist()
