"""inference: the torch-free int8 runtime against sentence-transformers (torch fp32) on the same texts and threads.

Single queries go one by one, as a customer's do; batches are what indexing sends. Both run in turn (A B A B ...)
after a warm-up. The metric loss is that of the embeddings on real tasks: the intent of the nearest training question
on banking77 (all of train, the published test part), the paragraph of a question on xquad.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from harness import QUICK, Benchmark, Row, median_ratio
from numpy.typing import NDArray

from headwater.data import TextExample, fingerprint
from headwater.data.public import banking77, xquad
from headwater.evaluation import bootstrap_interval
from headwater.models import BaseModel, resolve_base
from headwater.serving import load_encoder
from headwater.settings import load_settings
from headwater.tuning.export.encoder import export_encoder

THREADS = 2
ROUNDS = 3 if QUICK else 9
SINGLES = 20 if QUICK else 64
BATCH = 128 if QUICK else 1024
PASSAGES = 32 if QUICK else 240
Encode = Callable[[Sequence[str], str], NDArray[np.float32]]


@dataclass(frozen=True)
class Pair:
    """The two encoders of one base model: `encode(texts, kind) -> unit rows`."""

    ours: Encode
    rival: Encode
    megabytes: float
    model: str


def open_pair(base: BaseModel, folder: Path) -> Pair:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    bundle = export_encoder(base, folder / base.name)
    encoder = load_encoder(bundle, THREADS)
    words = Transformer(str(base.path), max_seq_length=base.max_length)
    rival = SentenceTransformer(
        modules=[words, Pooling(words.get_word_embedding_dimension(), base.pooling)], device="cpu"
    )
    prefixes = {"query": base.query_prefix, "passage": base.passage_prefix}

    def encode_rival(texts: Sequence[str], kind: str) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = rival.encode(
            [prefixes[kind] + text for text in texts], normalize_embeddings=True, show_progress_bar=False
        )
        return rows

    size = sum(path.stat().st_size for path in bundle.path.glob(f"{bundle.manifest.model}*")) / 1e6
    return Pair(encoder.encode, encode_rival, size, bundle.manifest.model)


def seconds_of(encode: Encode, calls: Sequence[Sequence[str]], kind: str) -> float:
    started = time.perf_counter()
    for texts in calls:
        encode(texts, kind)
    return time.perf_counter() - started


def compare(
    bench: Benchmark, pair: Pair, name: str, calls: Sequence[Sequence[str]], kind: str, must: float, language: str
) -> None:
    """Rows of the ratio and of our own time for `calls`, in turn with the rival."""
    for encode in (pair.ours, pair.rival):
        seconds_of(encode, calls[: max(1, len(calls) // 4)], kind)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(seconds_of(pair.ours, calls, kind))
        theirs.append(seconds_of(pair.rival, calls, kind))
    ratio, low, high = median_ratio(ours, theirs)
    texts = sum(len(call) for call in calls)
    milliseconds = [float(np.median(times)) * 1000 / texts for times in (ours, theirs)]
    bench.add(Row(f"{name}, speed-up", ratio, "x", low=low, high=high, language=language, must=must))
    bench.add(
        Row(
            f"{name}, time a text",
            milliseconds[0],
            "ms",
            "lower",
            language=language,
            rival="sentence-transformers, torch fp32",
            rival_value=milliseconds[1],
        )
    )


def add_loss(bench: Benchmark, name: str, right: Sequence[NDArray[np.float64]], language: str) -> None:
    """Rows of the metric and of what int8 costs, in points; `right`: ours and the rival's, one value an example."""
    ours, theirs = right
    loss = bootstrap_interval((theirs - ours) * 100)
    bench.add(
        Row(
            f"{name}",
            float(ours.mean()),
            language=language,
            rival="sentence-transformers, torch fp32",
            rival_value=float(theirs.mean()),
        )
    )
    bench.add(Row(f"{name}, loss", loss.value, "points", "lower", loss.low, loss.high, language, must=0.5))


def neighbour_right(encode: Encode, train: Sequence[TextExample], test: Sequence[TextExample]) -> NDArray[np.float64]:
    """Whether each test text's nearest training text has its label."""
    known = encode([example.text for example in train], "query")
    asked = encode([example.text for example in test], "query")
    nearest = (asked @ known.T).argmax(1)
    return np.array([train[near].label == example.label for near, example in zip(nearest, test, strict=True)], float)


def paragraph_found(encode: Encode, language: str) -> NDArray[np.float64]:
    """Whether each question's best paragraph is its own."""
    data = xquad(language)
    documents = list(data.documents)
    passages = encode(list(data.documents.values()), "passage")
    questions = encode(list(data.queries.values()), "query")
    best = (questions @ passages.T).argmax(1)
    return np.array([documents[b] in data.relevant[query] for b, query in zip(best, data.queries, strict=True)], float)


def main() -> None:
    import torch

    torch.set_num_threads(THREADS)
    settings = load_settings()
    banking, english, chinese = banking77(), xquad("en"), xquad("zh")
    bench = Benchmark(
        "inference",
        f"{THREADS} threads; A B A B, median of {ROUNDS} rounds; single: {SINGLES} queries one by one; batch: {BATCH} "
        f"queries or {PASSAGES} paragraphs in one call, rival's batch size 32; loss: the published test parts",
        fingerprint(banking.test),
    )
    questions = {"en": [e.text for e in banking.test], "zh": list(chinese.queries.values())}
    passages = {"en": list(english.documents.values()), "zh": list(chinese.documents.values())}
    with tempfile.TemporaryDirectory() as temporary:
        for name, languages in (("minilm", ("en",)), ("multilingual", ("en", "zh"))):
            pair = open_pair(resolve_base(name, settings), Path(temporary))
            bench.add(Row(f"{name}, size of {pair.model}", pair.megabytes, "MB", "lower"))
            for language in languages:
                texts = questions[language]
                singles = [[text] for text in texts[:SINGLES]]
                compare(bench, pair, f"{name}, single query", singles, "query", 5.0, language)
                compare(bench, pair, f"{name}, batch of queries", [texts[:BATCH]], "query", 2.5, language)
                long = [passages[language][:PASSAGES]]
                compare(bench, pair, f"{name}, batch of paragraphs", long, "passage", 2.5, language)
            train = banking.train[:500] if QUICK else banking.train
            test = banking.test[:200] if QUICK else banking.test
            rights = [neighbour_right(encode, train, test) for encode in (pair.ours, pair.rival)]
            add_loss(bench, f"{name}, banking77 nearest-neighbour accuracy", rights, "en")
            for language in languages:
                found = [paragraph_found(encode, language) for encode in (pair.ours, pair.rival)]
                add_loss(bench, f"{name}, xquad recall@1", found, language)
    bench.write()


if __name__ == "__main__":
    main()
