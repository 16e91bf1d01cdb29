"""What the retrieval quality benchmarks share: encoders, kept vectors, a hybrid index of a set, and its rows."""

import hashlib
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import QUICK, ROOT, Benchmark, Row
from numpy.typing import NDArray

from headwater.bundles import open_bundle
from headwater.evaluation.intervals import bootstrap_interval, paired_bootstrap
from headwater.evaluation.retrieval import per_query
from headwater.models import resolve_base
from headwater.retrieval import Document, Index, Upsert, Weights, fit_weights
from headwater.retrieval.index import Embedder
from headwater.retrieval.tables import metadata
from headwater.serving.encoder import load_encoder
from headwater.settings import Settings, load_settings
from headwater.storage.engine import open_engine

KEPT = ROOT / "build" / "bench" / "encoders"
# Passages of a query that are fused anew for each weight while it is fitted, and of the final search.
_FIT_DEPTH = 200
_DEPTH = 60
GRID = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 1.0)


class KeptEncoder:
    """A packaged encoder as the products serve it; vectors of texts are kept under build/, so a second run is quick."""

    def __init__(self, base: str, threads: int = 2) -> None:
        self._encoder = load_encoder(open_bundle(exported(base)), threads)
        self.id = self._encoder.id
        self.dimension = self._encoder.dimension
        self._path = KEPT / f"{base}-{self.id.removeprefix('sha256:')[:12]}.npz"
        self._kept: dict[str, NDArray[np.float32]] = {}
        if self._path.exists():
            with np.load(self._path) as values:
                self._kept = dict(zip(values["keys"].tolist(), values["vectors"].astype(np.float32), strict=True))

    def encode(self, texts: Sequence[str], kind: str = "plain") -> NDArray[np.float32]:
        keys = [hashlib.sha256(f"{kind}\0{text}".encode()).hexdigest()[:32] for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._kept}
        if missing:
            vectors = self._encoder.encode(list(missing.values()), kind)
            self._kept |= dict(zip(missing, vectors, strict=True))
        return np.stack([self._kept[key] for key in keys]) if keys else np.zeros((0, self.dimension), np.float32)

    def encode_all(self, texts: Sequence[str], kind: str) -> None:
        """Embed in parts and keep each, so that an interrupted run goes on where it stopped."""
        for start in range(0, len(texts), 2000):
            before = len(self._kept)
            self.encode(texts[start : start + 2000], kind)
            if len(self._kept) > before:
                self.keep()

    def keep(self) -> None:
        partial = self._path.with_suffix(".part.npz")
        np.savez(partial, keys=np.array(list(self._kept)), vectors=np.stack(list(self._kept.values())))
        partial.replace(self._path)


def exported(base: str) -> Path:
    folder = KEPT / base
    if not (folder / "manifest.json").exists():
        from headwater.tuning.export.encoder import export_encoder

        export_encoder(resolve_base(base, load_settings()), folder)
    return folder


@dataclass(frozen=True)
class Found:
    """The candidates of one query: document ids with both scores of each passage."""

    documents: list[str]
    cosine: NDArray[np.float64]
    bm25: NDArray[np.float64]

    def ranking(self, weights: Weights) -> list[str]:
        """Documents by their best passage."""
        fused = weights.fuse(self.cosine, self.bm25, float(self.bm25.max(initial=0.0)))
        return list(dict.fromkeys(self.documents[i] for i in np.argsort(-fused, kind="stable")))


class HybridSet:
    """Documents in an index as the products use it; a document ranks by its best passage."""

    def __init__(self, documents: Mapping[str, Document], encoder: Embedder) -> None:
        self._folder = tempfile.TemporaryDirectory()
        engine = open_engine(Settings(home=Path(self._folder.name)), "support")
        metadata.create_all(engine)
        self._engine, self._encoder = engine, encoder
        self._index = self._open(Weights())
        self._index.apply([Upsert(document) for document in documents.values()], actor="benchmark")
        if isinstance(encoder, KeptEncoder):
            encoder.keep()

    def _open(self, weights: Weights) -> Index:
        return Index(self._engine, "bench", {"*": self._encoder}, {"*": weights})

    def candidates(self, queries: Mapping[str, str]) -> dict[str, Found]:
        """Each query's candidates with both scores, to fit weights on."""
        vectors = self._encoder.encode(list(queries.values()), "query")
        found = {}
        for (key, text), vector in zip(queries.items(), vectors, strict=True):
            hits = self._index.search(text, _FIT_DEPTH, query_vector=vector)
            scores = np.array([(hit.cosine, hit.bm25) for hit in hits]).reshape(-1, 2)
            found[key] = Found([hit.chunk.document_id for hit in hits], scores[:, 0], scores[:, 1])
        return found

    def rankings(self, queries: Mapping[str, str], weights: Weights) -> dict[str, list[str]]:
        """What the product's search returns with these weights."""
        index = self._open(weights)
        vectors = self._encoder.encode(list(queries.values()), "query")
        ranked = {}
        for (key, text), vector in zip(queries.items(), vectors, strict=True):
            hits = index.search(text, _DEPTH, query_vector=vector)
            ranked[key] = list(dict.fromkeys(hit.chunk.document_id for hit in hits))
        return ranked


def fit(
    found: Mapping[str, Found], relevant: Mapping[str, Collection[str]], metric: str, k: int, subset: Iterable[str] = ()
) -> Weights:
    """The weight with the best mean metric on these queries."""
    keys = list(subset) or list(found)

    def score(weights: Weights) -> float:
        return float(per_query(metric, {key: found[key].ranking(weights) for key in keys}, relevant, k).mean())

    return fit_weights(score, GRID)[0]


def add_rows(
    bench: Benchmark,
    ranked: Mapping[str, Mapping[str, Sequence[str]]],
    relevant: Mapping[str, Collection[str]],
    measures: Mapping[tuple[str, int], float | None],
    language: str,
    note: str = "",
) -> None:
    """Rows of `ranked` = {"hybrid", "vectors", "BM25"} and the hybrid's lead over the better single retriever."""
    for (metric, k), must in measures.items():
        values = {name: per_query(metric, found, relevant, k) for name, found in ranked.items()}
        singles = {name: v for name, v in values.items() if name != "hybrid"}
        rival = max(singles, key=lambda name: float(singles[name].mean()))
        label = f"{metric}@{k}"
        for name, single in singles.items():
            bench.add(_row(f"{label}, {name} alone", single, language))
        own: dict[str, Any] = {"rival": f"{rival} alone", "rival_value": float(singles[rival].mean()), "must": must}
        bench.add(_row(f"{label}, hybrid{note}", values["hybrid"], language, **own))
        lead = paired_bootstrap(values["hybrid"], singles[rival])
        bench.add(
            Row(f"{label}, hybrid - {rival}, paired 95 %", lead.value, low=lead.low, high=lead.high, language=language)
        )


def _row(metric: str, values: NDArray[np.float64], language: str, **more: Any) -> Row:
    interval = bootstrap_interval(values)
    return Row(metric, interval.value, low=interval.low, high=interval.high, language=language, **more)


def limited(values: Mapping[str, str], count: int) -> dict[str, str]:
    """All, or the first `count` in a QUICK run."""
    return dict(list(values.items())[:count]) if QUICK else dict(values)
