"""Text → unit vector."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headwater.bundles import Bundle
from headwater.errors import HeadwaterError
from headwater.serving.batches import TruncationCount, run_in_batches
from headwater.serving.session import open_model, open_tokenizer


class Encoder:
    """A bi-encoder bundle, ready to encode; safe to call from several threads."""

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        if bundle.manifest.kind != "encoder":
            raise HeadwaterError(f"{bundle.path} is {bundle.manifest.a_kind}, not an encoder")
        self.id = bundle.id
        self.manifest = bundle.manifest
        self.dimension = bundle.manifest.dimension
        self._truncations = TruncationCount()
        self._tokenizer = open_tokenizer(bundle)
        self._session = open_model(bundle, threads)

    def encode(self, texts: Sequence[str], kind: str = "plain") -> NDArray[np.float32]:
        """Unit rows float32 [n, dimension]. `kind`: "query" or "passage" puts that prefix before each text."""
        prefix = self.manifest.prefixes.get(kind, "")
        prefixed = [prefix + text for text in texts] if prefix else texts
        return run_in_batches(self._tokenizer, prefixed, self._run, self.dimension, self._truncations)

    @property
    def truncated(self) -> int:
        """How many texts have lost their end since the model was loaded (max_length of the manifest)."""
        return self._truncations.value

    def _run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        output: NDArray[np.float32] = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return output


def load_encoder(bundle: Bundle, threads: int = 0) -> Encoder:
    """Load an encoder bundle; `threads` 0: one per core."""
    return Encoder(bundle, threads)
