"""Packaged encoders, and classifiers tuned on them, as torch, ONNX float32 and ONNX int8; exported once a session."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headwater.bundles import Bundle, Manifest
from headwater.data import LabelSpace, TextExample
from headwater.models import BaseModel, resolve_base
from headwater.serving.session import open_session
from headwater.settings import load_settings
from headwater.tuning.classification import ClassificationTask
from headwater.tuning.config import ClassifyConfig
from headwater.tuning.encoding import SentenceEncoder, load_backbone, load_tokenizer
from headwater.tuning.export.classifier import Judge, export_classifier
from headwater.tuning.export.encoder import export_encoder
from headwater.tuning.methods.lora import merged
from headwater.tuning.training import train

Rows = NDArray[np.float32]


@dataclass
class Exported:
    """One encoder in its three forms; each takes ids and mask [b, s] and gives unit rows [b, width]."""

    base: BaseModel
    folder: Path

    @cached_property
    def model(self) -> Any:
        return SentenceEncoder(load_backbone(self.base), self.base.pooling).eval()

    @cached_property
    def tokenizer(self) -> Any:
        return load_tokenizer(self.base)

    @cached_property
    def bundle(self) -> Bundle:
        return export_encoder(self.base, self.folder / "bundle", encoder=self.model, with_float=True)

    @cached_property
    def sessions(self) -> dict[str, Any]:
        return {
            "float32": open_session(self.bundle.file("model.onnx")),
            "int8": open_session(self.bundle.file("model.int8.onnx")),
        }

    def batch(self, texts: Sequence[str], rows: int, tokens: int | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids and mask of the texts, repeated and cut to exactly `tokens` (None: as many as the model takes)."""
        length = self.base.max_length if tokens is None else tokens
        ids = np.zeros((rows, length), np.int64)
        self.tokenizer.enable_truncation(length if length > 2 else 512)
        for row in range(rows):
            ids[row] = self.tokenizer.encode(" ".join([texts[(row + 2) % len(texts)]] * length)).ids[:length]
        self.tokenizer.enable_truncation(self.base.max_length)
        return ids, np.ones_like(ids)

    def run(self, form: str, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Rows:
        if form == "torch":
            import torch

            model = self.model  # made here, since one that is tuned needs gradients
            with torch.no_grad():
                rows: Rows = model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
            return rows
        output: Rows = self.sessions[form].run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return output


# What the classifiers learn; a text with two questions has both labels.
ASKED = {
    "refund": ("How do I get my money back for the tent?", "When is the refund paid?", "退款需要多长时间？"),
    "delivery": ("Where is my parcel?", "Has the courier left the depot in Leeds?", "我的包裹到哪里了？"),
    "repair": ("The zip of the door jammed, can you mend it?", "Do you repair boots?", "帐篷杆断了，可以修吗？"),
}


@dataclass
class Tuned(Exported):
    """A classifier with adapters merged into the encoder; gives logits [b, labels]."""

    several: bool = False

    @cached_property
    def task(self) -> ClassificationTask:
        examples = [TextExample(text, (label,)) for label, texts in ASKED.items() for text in texts]
        if self.several:
            pairs = [(a, b) for a in examples for b in examples if a.label < b.label]
            examples += [TextExample(f"{a.text} {b.text}", (a.label, b.label)) for a, b in pairs]
        space = LabelSpace(tuple(sorted(ASKED)), self.several)
        config = ClassifyConfig(method="lora", epochs=3, batch_size=9, precision="fp32", label_separator="|")
        task = ClassificationTask(self.base, config, space, examples, examples)
        train(task.task(), config, self.folder, lambda step: None)
        task.model.encoder.backbone = merged(task.model.encoder.backbone)
        return task

    @cached_property
    def model(self) -> Any:
        return self.task.model.eval()

    @cached_property
    def bundle(self) -> Bundle:
        task = self.task
        fields = {"labels": task.space.names, "multi_label": self.several, "max_length": self.base.max_length}
        manifest = Manifest("classifier", "model.onnx", self.base.name, prefixes={"query": task.prefix}, **fields)
        judge = Judge([text for texts in ASKED.values() for text in texts], lambda logits: 1.0)
        return export_classifier(
            self.model, self.model.encoder.backbone, self.base, self.folder / "bundle", manifest, judge
        )


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """`exported("minilm")`: the model in its three forms, made at its first use."""
    made: dict[str, Exported] = {}

    def get(name: str) -> Exported:
        if name not in made:
            made[name] = Exported(resolve_base(name, load_settings()), tmp_path_factory.mktemp(name))
        return made[name]

    return get


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tuned]:
    """`tuned("minilm")`: a classifier on that model; on `multilingual` its texts have several labels."""
    made: dict[str, Tuned] = {}

    def get(name: str) -> Tuned:
        if name not in made:
            base = resolve_base(name, load_settings())
            made[name] = Tuned(base, tmp_path_factory.mktemp(f"tuned-{name}"), several=name == "multilingual")
        return made[name]

    return get
