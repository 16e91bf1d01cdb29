"""Vectors for `retrieval-scale`: real sentences embedded once, then filled up by interpolating neighbours."""

import random
from collections.abc import Iterator

import numpy as np
from harness import QUICK, ROOT
from numpy.typing import NDArray
from retrieval_quality import exported

from headwater.bundles import open_bundle
from headwater.data.public import data_folder, scifact
from headwater.data.rows import stream_rows
from headwater.progress import Step, bar
from headwater.retrieval import split_sentences
from headwater.serving import load_encoder

SENTENCES = 4_000 if QUICK else 200_000
QUERIES = 200 if QUICK else 1_000
_SHARD = 10_000
_FOLDER = ROOT / "build" / "bench" / "scale"
# Noise a dimension: half a millinat of a unit vector's typical coordinate (.05), so that no two rows are equal.
_NOISE = 0.004
_NEIGHBOURS = 4


def real_vectors() -> NDArray[np.float32]:
    """Unit rows [SENTENCES, 384] of distinct sentences in random order; embedded by `minilm` and kept in shards."""
    sentences = _sentences()
    encoder = load_encoder(open_bundle(exported("minilm")), 2)
    progress, shards = bar("embedding sentences"), []
    for start in range(0, len(sentences), _SHARD):
        path = _FOLDER / f"{encoder.id.removeprefix('sha256:')[:12]}-{len(sentences)}-{start}.npy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            vectors = encoder.encode(sentences[start : start + _SHARD], "passage")
            partial = path.with_suffix(".part.npy")
            np.save(partial, vectors.astype(np.float16))
            partial.replace(path)
        shards.append(np.load(path).astype(np.float32))
        progress(Step(start + _SHARD, len(sentences), ""))
    return _unit(np.concatenate(shards))


def _sentences() -> list[str]:
    """Distinct sentences of reviews, abstracts, headlines and phrases."""
    found: dict[str, None] = {}
    for text in _texts():
        for start, end in split_sentences(text.replace("<br />", "\n")):
            if 20 <= end - start <= 240:
                found[text[start:end]] = None
    ordered = sorted(found)
    random.Random(0).shuffle(ordered)
    return ordered[:SENTENCES]


def _texts() -> Iterator[str]:
    yield from scifact().documents.values()
    for name, file, column in (
        ("imdb", "train.jsonl.gz", "text"),
        ("imdb", "test.jsonl.gz", "text"),
        ("sst2", "train.tsv", "sentence"),
        ("financial_news_headlines", "cnbc_headlines.csv", "Headlines"),
        ("financial_news_headlines", "cnbc_headlines.csv", "Description"),
        ("bitext_support_27k_instructions", "bitext_27k_instruction_category.csv", "instruction"),
        ("tmdb_5000", "tmdb_5000_movies.csv.gz", "overview"),
    ):
        for row in stream_rows(data_folder(name) / file, []):
            yield row.values.get(column) or ""


def filled_up(real: NDArray[np.float32], count: int, seed: int = 0) -> NDArray[np.float32]:
    """The first `count` real rows, or all of them and points between a row and one of its neighbours, with noise."""
    if count <= len(real):
        return real[:count].copy()
    generator = np.random.default_rng(seed)
    out = np.empty((count, real.shape[1]), np.float32)
    out[: len(real)] = real
    neighbours = _neighbours(real)
    for start in range(len(real), count, 100_000):
        size = min(100_000, count - start)
        first = generator.integers(0, len(real), size)
        second = neighbours[first, generator.integers(0, _NEIGHBOURS, size)]
        share = generator.uniform(0.2, 0.8, (size, 1)).astype(np.float32)
        noise = generator.normal(0, _NOISE, (size, real.shape[1])).astype(np.float32)
        out[start : start + size] = _unit(share * real[first] + (1 - share) * real[second] + noise)
    return out


def _neighbours(real: NDArray[np.float32]) -> NDArray[np.int64]:
    """Near rows of each row [n, _NEIGHBOURS], found within cells (approximate is enough here), kept on disk."""
    import faiss

    path = _FOLDER / f"neighbours-{len(real)}.npy"
    if not path.exists():
        cells = max(16, int(len(real) ** 0.5))
        index = faiss.index_factory(real.shape[1], f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
        index.train(real[: 50 * cells])
        index.add(real)
        index.nprobe = 4
        np.save(path, index.search(real, _NEIGHBOURS + 1)[1][:, 1:])
    found: NDArray[np.int64] = np.load(path)
    return np.where(found < 0, np.arange(len(real))[:, None], found)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
