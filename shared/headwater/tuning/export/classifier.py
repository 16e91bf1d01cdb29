"""A classifier bundle from a trained model, with the int8 graph judged on the task's own metric."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from headwater.bundles import Bundle, Manifest, write_bundle
from headwater.models import BaseModel
from headwater.tuning.encoding import load_tokenizer, save_backbone
from headwater.tuning.export.encoder import check_parity, run_graph
from headwater.tuning.export.graph import INT8_RECIPES, cpu_flags, export_graph, quantise, separate_table
from headwater.tuning.runs import write_json

# int8 is served when it costs at most this much of the validation metric.
LARGEST_LOSS = 0.005
_LOGIT_DIFFERENCE = 0.05
# Where the word table is stored as int8, each weight is rounded once, and a logit is twenty times a cosine.
_LOGIT_DIFFERENCE_INT8_TABLE = 0.2
_LARGE_VOCABULARY = 60_000


@dataclass(frozen=True)
class Judge:
    """Validation texts with the metric that int8 is judged by: `score(logits [n, labels]) -> float`."""

    texts: Sequence[str]
    score: Any


def export_classifier(
    model: nn.Module,
    backbone: Any,
    base: BaseModel,
    output: Path,
    manifest: Manifest,
    judge: Judge,
    *,
    with_weights: bool = True,
    with_float: bool = True,
    report: dict[str, Any] | None = None,
) -> Bundle:
    """Write `model(input_ids, attention_mask) -> logits` as a classifier bundle.

    The float graph must compute what torch computes on the judge's texts; the first int8 recipe that keeps the metric
    is served. With `with_weights` the bundle carries torch/, with `with_float` the float graph also beside an accepted
    int8 one. `report` becomes report.json, for the pages that show the model.
    """
    tokenizer = load_tokenizer(base)
    tokenizer.enable_truncation(manifest.max_length)
    prefix = manifest.prefixes.get("query", "")
    texts = [prefix + text for text in judge.texts]
    width = len(manifest.labels)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        plain_path, small_path = folder / "model.onnx", folder / "model.int8.onnx"
        export_graph(model, backbone, "logits", plain_path)
        few = texts[:64]
        plain = run_graph(plain_path, tokenizer, texts, width)
        difference = float(np.abs(plain[: len(few)] - _torch_logits(model, tokenizer, few, width)).max())
        is_large = backbone.config.vocab_size > _LARGE_VOCABULARY
        check_parity(difference, base, _LOGIT_DIFFERENCE_INT8_TABLE if is_large else _LOGIT_DIFFERENCE)
        metric = float(judge.score(plain))
        for recipe in INT8_RECIPES:
            quantise(plain_path, small_path, recipe)
            small = run_graph(small_path, tokenizer, texts, width)
            metric_int8 = float(judge.score(small))
            accepted = metric - metric_int8 <= LARGEST_LOSS
            if accepted:
                break
        manifest = replace(
            manifest,
            model="model.int8.onnx" if accepted else "model.onnx",
            parity={"max_difference": difference, "texts": len(few)},
            quantisation={
                "accepted": accepted,
                "recipe": recipe if accepted else "",
                "metric_float": metric,
                "metric_int8": metric_int8,
                "texts": len(texts),
                "largest_loss": LARGEST_LOSS,
                "logit_difference": float(np.abs(plain - small).mean()),
            },
            cpu_flags=cpu_flags(),
        )
        files = {"tokenizer.json": base.path / "tokenizer.json"}
        if accepted:
            files["model.int8.onnx"] = small_path
        if with_float or not accepted:
            files["model.onnx"] = plain_path
        graph, word_table = separate_table(folder / manifest.model)
        files |= graph
        if with_weights:
            save_backbone(backbone, base, folder / "torch")
            files |= {f"torch/{path.name}": path for path in (folder / "torch").iterdir()}
        if report is not None:
            files["report.json"] = write_json(folder / "report.json", report)
        return write_bundle(output, replace(manifest, word_table=word_table), files)


def _torch_logits(model: nn.Module, tokenizer: Any, texts: Sequence[str], width: int) -> NDArray[np.float32]:
    from headwater.tuning.classification import run_model

    return run_model(model, [encoding.ids for encoding in tokenizer.encode_batch(list(texts))], width, "fp32")
