"""Each packaged encoder as torch, ONNX float32 and ONNX int8; exported once a session."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headwater.bundles import Bundle
from headwater.models import BaseModel, resolve_base
from headwater.serving.session import open_session
from headwater.settings import load_settings
from headwater.tuning.encoding import SentenceEncoder, load_backbone, load_tokenizer
from headwater.tuning.export.encoder import export_encoder

Rows = NDArray[np.float32]


@dataclass
class Exported:
    """One model in its three forms; each takes ids and mask [b, s] and gives unit rows [b, width]."""

    base: BaseModel
    folder: Path

    @cached_property
    def model(self) -> SentenceEncoder:
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

    def run(self, form: str, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Rows:
        if form == "torch":
            import torch

            with torch.no_grad():
                rows: Rows = self.model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
            return rows
        output: Rows = self.sessions[form].run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return output


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """`exported("minilm")`: the model in its three forms, made at its first use."""
    made: dict[str, Exported] = {}

    def get(name: str) -> Exported:
        if name not in made:
            made[name] = Exported(resolve_base(name, load_settings()), tmp_path_factory.mktemp(name))
        return made[name]

    return get
