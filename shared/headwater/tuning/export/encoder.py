"""An encoder bundle from a base model or a tuned bi-encoder."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headwater.bundles import Bundle, Manifest, write_bundle
from headwater.errors import HeadwaterError
from headwater.models import BaseModel
from headwater.serving.batches import run_in_batches
from headwater.serving.session import open_session
from headwater.tuning.encoding import SentenceEncoder, load_backbone, load_tokenizer, save_backbone
from headwater.tuning.export.graph import INT8_RECIPES, cpu_flags, export_graph, quantise, separate_table
from headwater.tuning.runs import write_json

# int8 may turn a vector by about 8 degrees; beyond it the float model is served. Measured on STS-like texts: minilm
# .986-.994, multilingual .996, and a retrieval metric within half a point of float32.
LEAST_COSINE = 0.98
# The largest deviation of the float graph from torch: rounding, nothing else.
_LARGEST_DIFFERENCE = 1e-3

PARITY_TEXTS = (
    "refund",
    "How long does a refund take?",
    "My parcel has been in transit since Monday and the tracking page still shows the depot in Leeds.",
    "退款需要多长时间？",
    "我上周买的登山鞋尺码不合适，想换大一号，请问运费由谁承担，换货大概需要几天？",
    "Order NB-204815: the tent poles are bent, two pegs are missing, and the carrier left no card. "
    "Please tell me whether you replace the poles or the whole tent, who pays the return, and when I can expect it.",
)


def export_encoder(
    base: BaseModel,
    output: Path,
    *,
    encoder: SentenceEncoder | None = None,
    fields: dict[str, Any] | None = None,
    texts: Sequence[str] = PARITY_TEXTS,
    with_weights: bool = False,
    with_float: bool = False,
    report: dict[str, Any] | None = None,
) -> Bundle:
    """Write `base` (or the tuned `encoder` that began as it) as an encoder bundle.

    `fields` go into the manifest; `with_weights` adds torch/ so that a run can start from the bundle, `with_float` the
    float graph also beside an accepted int8 one; `report` becomes report.json, for the pages that show the model.
    The first int8 recipe whose cosine to float32 stays above LEAST_COSINE is served.
    Raises HeadwaterError when the float graph differs from torch.
    """
    model = encoder or SentenceEncoder(load_backbone(base), base.pooling)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        export_graph(model, model.backbone, "embedding", folder / "model.onnx")
        reference = _reference(model, base, texts)
        plain = _embed(folder / "model.onnx", base, texts, model.width)
        parity = {"max_difference": float(np.abs(plain - reference).max()), "texts": len(texts)}
        check_parity(parity["max_difference"], base, _largest(model))
        for recipe in INT8_RECIPES:
            quantise(folder / "model.onnx", folder / "model.int8.onnx", recipe)
            cosine = (_embed(folder / "model.int8.onnx", base, texts, model.width) * reference).sum(1)
            accepted = bool(cosine.min() >= LEAST_COSINE)
            if accepted:
                break
        files = {"model.onnx": folder / "model.onnx", "tokenizer.json": base.path / "tokenizer.json"}
        if accepted:
            files["model.int8.onnx"] = folder / "model.int8.onnx"
            if not with_float:
                files.pop("model.onnx")
        served = "model.int8.onnx" if accepted else "model.onnx"
        graph, word_table = separate_table(folder / served)
        files |= graph
        if with_weights:
            save_backbone(model.backbone, base, folder / "torch")
            files |= {f"torch/{path.name}": path for path in (folder / "torch").iterdir()}
        if report is not None:
            files["report.json"] = write_json(folder / "report.json", report)
        manifest = Manifest(
            kind="encoder",
            model=served,
            base=base.name,
            base_sha256=base.sha256,
            language=base.language,
            pooling=base.pooling,
            prefixes={"query": base.query_prefix, "passage": base.passage_prefix},
            max_length=base.max_length,
            dimension=model.width,
            licence=base.licence,
            parity=parity,
            quantisation={
                "accepted": accepted,
                "recipe": recipe if accepted else "",
                "cosine_min": float(cosine.min()),
                "cosine_mean": float(cosine.mean()),
            },
            word_table=word_table,
            cpu_flags=cpu_flags(),
            **(fields or {}),
        )
        return write_bundle(output, manifest, files)


def check_parity(difference: float, base: BaseModel, largest: float = _LARGEST_DIFFERENCE) -> None:
    """Raise HeadwaterError when the exported float graph does not compute what torch computes."""
    if not difference <= largest:
        raise HeadwaterError(
            f"the ONNX graph of {base.name} differs from torch by {difference:.2g} (at most {largest:g}); "
            "its architecture is not one that the exporter was tested with (BERT, RoBERTa, XLM-R, MPNet)"
        )


def _largest(model: SentenceEncoder) -> float:
    # A word table stored as int8 rounds each weight once; the vectors turn by less than a tenth of a degree.
    return _LARGEST_DIFFERENCE if model.backbone.config.vocab_size <= 60_000 else 5e-3


def _reference(model: SentenceEncoder, base: BaseModel, texts: Sequence[str]) -> NDArray[np.float32]:
    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.no_grad():
            rows: NDArray[np.float32] = model.eval()(torch.from_numpy(ids), torch.from_numpy(mask)).float().numpy()
        return rows

    return run_in_batches(load_tokenizer(base), texts, run, model.width)


def _embed(path: Path, base: BaseModel, texts: Sequence[str], width: int) -> NDArray[np.float32]:
    return run_graph(path, load_tokenizer(base), texts, width)


def run_graph(path: Path, tokenizer: Any, texts: Sequence[str], width: int) -> NDArray[np.float32]:
    """What the serving runtime would compute with the graph at `path`."""
    session = open_session(path)

    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return rows

    return run_in_batches(tokenizer, texts, run, width)
