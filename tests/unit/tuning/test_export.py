"""The quality gate of an exported classifier: int8 is served only where it keeps the task's metric."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from headwater.bundles import Manifest
from headwater.data import LabelSpace, read_texts
from headwater.models import BaseModel
from headwater.serving import load_classifier
from headwater.serving.session import open_session
from headwater.tuning.classification import ClassificationTask
from headwater.tuning.config import ClassifyConfig
from headwater.tuning.export.classifier import LARGEST_LOSS, Judge, export_classifier
from headwater.tuning.export.graph import INT8_RECIPES, quantise


@pytest.mark.parametrize(
    ("tolerance", "served", "beside"),
    [(1e-4, "model.onnx", set()), (1.0, "model.int8.onnx", {"model.onnx"})],
)
def test_int8_that_loses_the_metric_is_not_served(
    tolerance: float, served: str, beside: set[str], tiny_base: BaseModel, labelled: Path, tmp_path: Path
) -> None:
    """The metric is how often a logit is met: int8 meets none to four digits, and all to a whole logit."""
    examples = read_texts(labelled).examples
    space = LabelSpace.from_examples(examples)
    task = ClassificationTask(tiny_base, ClassifyConfig(precision="fp32", threads=1), space, examples, examples[:30])
    exact = task.logits(task.valid_ids)

    def met(logits: NDArray[np.float32]) -> float:
        return float((np.abs(logits - exact) < tolerance).mean())

    manifest = Manifest("classifier", "model.onnx", tiny_base.name, labels=space.names, max_length=task.max_length)
    judge = Judge([e.text for e in examples[:30]], met)
    bundle = export_classifier(
        task.model, task.model.encoder.backbone, tiny_base, tmp_path / "bundle", manifest, judge, with_weights=False
    )

    report = bundle.manifest.quantisation
    assert report["metric_float"] == 1.0
    assert report["accepted"] == (report["metric_int8"] >= 1.0 - LARGEST_LOSS) == (served == "model.int8.onnx")
    assert bundle.manifest.model == served
    assert {name for name in bundle.manifest.files if name.endswith(".onnx")} == {served, *beside}
    logits = load_classifier(bundle, 1).logits([e.text for e in examples[:30]])
    assert met(logits) >= 1.0 - LARGEST_LOSS


def test_blocks_hold_an_outlier_that_one_scale_does_not(tmp_path: Path) -> None:
    """A down-projection whose first input is a thousand times the others, in each recipe."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((2048, 16), dtype=np.float32)
    inputs = random.standard_normal((5, 2048), dtype=np.float32)
    inputs[:, 0] = 1000.0
    weight[0] = 0.0  # what the outlier itself adds is not asked
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["inputs", "weight"], ["outputs"], "layer.0/output/dense/MatMul")],
        "down-projection",
        [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["batch", 2048])],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["batch", 16])],
        [numpy_helper.from_array(weight, "weight")],
    )
    source, target = tmp_path / "model.onnx", tmp_path / "int8.onnx"
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), source)

    def error(recipe: str) -> float:
        quantise(source, target, recipe)
        outputs = open_session(target).run(None, {"inputs": inputs})[0]
        return float(np.abs(outputs - inputs @ weight).mean())

    one_scale, projections, blocks = (error(recipe) for recipe in INT8_RECIPES)
    assert projections == blocks < one_scale / 2
