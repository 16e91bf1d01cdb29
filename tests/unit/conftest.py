"""A classifier small enough for every test: each word votes for labels, the text's mean vote is its logits."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from headwater.bundles import Bundle, Manifest, write_bundle

MakeWordClassifier = Callable[..., Bundle]


@pytest.fixture
def word_classifier(tmp_path: Path) -> MakeWordClassifier:
    """`word_classifier(name, {word: label or votes}, labels, **manifest fields)`: a real ONNX bundle.

    A word's label gets 8 logits; `votes` gives a logit a label. Unknown words vote for nothing.
    """

    def make(name: str, words: Mapping[str, str | Sequence[float]], labels: Sequence[str], **fields: object) -> Bundle:
        votes = np.zeros((len(words) + 2, len(labels)), np.float32)
        for row, vote in enumerate(words.values(), start=2):
            votes[row] = [8.0 * (label == vote) for label in labels] if isinstance(vote, str) else vote
        sources = tmp_path / "word-classifiers" / name
        sources.mkdir(parents=True)
        write_model(sources / "model.onnx", votes)
        write_tokenizer(sources / "tokenizer.json", list(words))
        values = {"kind": "classifier", "model": "model.onnx", "base": "words", "labels": tuple(labels), **fields}
        files = {path.name: path for path in sources.iterdir()}
        return write_bundle(tmp_path / "bundles" / name, Manifest(**values), files)

    return make


def write_model(path: Path, votes: np.ndarray) -> None:
    """input_ids, attention_mask [b, s] → mean of the words' rows of `votes` [b, labels]."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Gather", ["votes", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "middle"], ["count"], keepdims=1),
        helper.make_node("Max", ["count", "one"], ["least"]),
        helper.make_node("Div", ["sum", "least"], ["logits"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", votes.shape[1]])
    constants = [
        numpy_helper.from_array(votes, "votes"),
        numpy_helper.from_array(np.array([-1]), "last"),
        numpy_helper.from_array(np.array([1]), "middle"),
        numpy_helper.from_array(np.array([1.0], np.float32), "one"),
    ]
    graph = helper.make_graph(nodes, "words", inputs, [output], constants)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))


def write_tokenizer(path: Path, words: list[str]) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {token: number for number, token in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(path))
