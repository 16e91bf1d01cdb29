"""torch module → optimised ONNX graph → int8 graph.

The graph optimiser fuses attention, layer normalisation and GELU; int8 comes in recipes from the fastest to the most
exact, of which the first that keeps the task's metric is served. A word table of a large vocabulary is stored as int8
with one scale a row, which keeps every language at a quarter of the size.
"""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

# Above this many rows the word table outweighs the transformer; it is then stored as int8.
_LARGE_VOCABULARY = 60_000
_OPSET = 17
# int8 recipes by name, the fastest first: the nodes whose weights are quantised in blocks. A layer's down-projection
# reads what GELU leaves of outliers (MPNet with one scale an activation: cosine .73 to float32; with blocks .99); the
# last recipe moves a logit by a tenth of what the second does. A fused Attention stays float in it (a quarter of a
# layer of BERT): no operator does it in blocks.
INT8_RECIPES: dict[str, tuple[str, ...]] = {
    "int8": (),
    "int8, output projections in blocks": ("output/dense/MatMul",),
    "int8 in blocks": ("MatMul", "Attention"),
}
_BLOCK = 128
# MatMulNBits' accuracy_level that multiplies int8 by int8.
_INT8_PRODUCTS = 4
# Above this size an initializer is a word table (MiniLM's has 47 MB; MPNet's largest weight of a layer 9 MB).
_TABLE_BYTES = 16_000_000


class Int8Table(nn.Module):
    """An embedding table as int8 rows with a float scale each: [n] ids → [n, width] float32."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        scale = weight.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
        self.register_buffer("table", (weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.table: Tensor
        self.scale: Tensor

    def forward(self, ids: Tensor) -> Tensor:
        return self.table[ids].to(torch.float32) * self.scale[ids]


def export_graph(model: nn.Module, backbone: Any, output: str, path: Path) -> None:
    """Write `model(input_ids, attention_mask) -> [batch, width]` as an optimised float32 ONNX file.

    `backbone` is the transformer inside `model`; batch and length are dynamic. The model is left as it was.
    """
    raw = path.with_name("raw.onnx")
    embeddings = backbone.embeddings
    table = embeddings.word_embeddings
    was_training = model.training
    model.eval()
    try:
        if table.weight.shape[0] > _LARGE_VOCABULARY:
            embeddings.word_embeddings = Int8Table(table.weight.detach())
        _trace(model, output, raw)
    finally:
        embeddings.word_embeddings = table
        model.train(was_training)
    _optimise(raw, path, backbone.config)
    raw.unlink()


def _trace(model: nn.Module, output: str, path: Path) -> None:
    ids = torch.tensor([[0, 5, 6, 7, 2], [0, 8, 9, 2, 1]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
    names = ["input_ids", "attention_mask"]
    axes = {name: {0: "batch", 1: "length"} for name in names} | {output: {0: "batch"}}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns of Python branches that do not depend on the data here
        torch.onnx.export(
            model,
            (ids, mask),
            str(path),
            input_names=names,
            output_names=[output],
            dynamic_axes=axes,
            opset_version=_OPSET,
            dynamo=False,
        )


def _optimise(source: Path, target: Path, config: Any) -> None:
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
    options = FusionOptions("bert")
    options.enable_embed_layer_norm = False  # it would need int32 ids and a third input
    optimised = optimizer.optimize_model(
        str(source),
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        optimization_options=options,
        opt_level=0,
    )
    optimised.save_model_to_file(str(target))


def quantise(source: Path, target: Path, recipe: str) -> None:
    """Write the graph at `source` with int8 weights to `target`; `recipe` is one of INT8_RECIPES.

    Weights are int8 per channel, each activation with one scale for all of it (dynamic quantisation). The products that
    the recipe names take a scale for each 128 inputs instead, of weight and activation: an outlier spoils its block
    alone, and a text does not depend on what shares its batch; it takes about twice the time.
    """
    import onnx

    blockwise = INT8_RECIPES[recipe]
    nodes = onnx.load(str(source), load_external_data=False).graph.node
    chosen = [node for node in nodes if any(part in node.name for part in blockwise)]
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary, _quiet_root_logger():
        plain = Path(temporary) / "plain.onnx"
        _quantise_dynamically(source, plain if chosen else target, [node.name for node in chosen])
        if chosen:
            _quantise_blocks(plain, target, [node.name for node in chosen if node.op_type == "MatMul"])


def _quantise_dynamically(source: Path, target: Path, excluded: list[str]) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        str(source),
        str(target),
        per_channel=True,
        reduce_range=not has_vnni(),
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gemm", "Attention"],
        nodes_to_exclude=excluded,
        extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
    )


def _quantise_blocks(source: Path, target: Path, nodes: list[str]) -> None:
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantiser = MatMulNBitsQuantizer(
        onnx.load(str(source)),
        bits=8,
        block_size=_BLOCK,
        is_symmetric=True,
        accuracy_level=_INT8_PRODUCTS,
        nodes_to_include=nodes,
    )
    quantiser.process()
    onnx.save_model(quantiser.model.model, str(target))


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """The quantisers warn on the root logger of graphs that are optimised already, and give it a handler on import."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    root.setLevel(max(level, logging.ERROR))
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


def separate_table(path: Path) -> tuple[dict[str, Path], dict[str, Any]]:
    """Move the word table of the graph at `path` (and what else is as large) into a file beside it.

    Returns the graph's files by name, and what the manifest says of the table, {} where it is not alone there. The
    runtime maps the file: only rows of words in use become resident, and models with equal tables share them.
    """
    import onnx

    data = path.with_name(f"{path.name}.data")
    graph = onnx.load(str(path))
    word_table = {}
    tables = [one for one in graph.graph.initializer if len(one.raw_data) >= _TABLE_BYTES]
    if len(tables) == 1:
        (table,) = tables
        kind = onnx.helper.tensor_dtype_to_np_dtype(table.data_type).name
        word_table = {"initializer": table.name, "dtype": kind, "shape": list(table.dims), "file": data.name}
    onnx.save_model(graph, str(path), save_as_external_data=True, location=data.name, size_threshold=_TABLE_BYTES)
    return {file.name: file for file in (path, data) if file.exists()}, word_table


def cpu_flags() -> tuple[str, ...]:
    """The vector extensions of this processor that decide how int8 is computed (empty where unknown)."""
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return ()
    return tuple(flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if flag in words)


def has_vnni() -> bool:
    """Whether int8 products do not saturate here; without it weights keep 7 bits."""
    return any("vnni" in flag or flag == "amx_int8" for flag in cpu_flags())
