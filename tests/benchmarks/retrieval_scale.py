"""retrieval-scale: the products' vector index against exact search over 10k, 100k and a million vectors.

Real sentences (reviews, abstracts, headlines, phrases) embedded by `minilm`, filled up by points between neighbours;
queries are real sentences that are not among the rows. Each size runs in a process of its own, one thread, one query
at a time. Memory is what the process holds for the index once it is built, beside the bytes of the rows in float32.
"""

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from harness import QUICK, Benchmark, Row
from numpy.typing import NDArray
from scale_vectors import QUERIES, SENTENCES, filled_up, real_vectors

SIZES = (2_000, 5_000) if QUICK else (10_000, 100_000, 1_000_000)
_CHUNK = 50_000
_K = 10


def held_bytes() -> int:
    """What the process alone holds, after freed memory was given back."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(psutil.Process().memory_full_info().uss)


def milliseconds(search: Callable[[NDArray[np.float32]], Any], queries: NDArray[np.float32]) -> list[float]:
    """The 50th and 95th percentile of single searches, after a warm-up."""
    for query in queries[:20]:
        search(query)
    times = []
    for query in queries:
        started = time.perf_counter()
        search(query)
        times.append((time.perf_counter() - started) * 1000)
    return [float(value) for value in np.percentile(times, (50, 95))]


def measure(folder: Path, size: int) -> dict[str, Any]:
    """Build both indexes of the first rows and search them in turn."""
    import faiss

    from headwater.retrieval.vectors import VectorIndex

    faiss.omp_set_num_threads(1)
    queries = np.load(folder / "queries.npy")
    dimension = queries.shape[1]

    def rows(start: int) -> NDArray[np.float32]:
        # Read, not mapped: a mapped file would count as the process's own memory.
        count = min(size, start + _CHUNK) - start
        path = folder / "rows.f32"
        return np.fromfile(path, np.float32, count * dimension, offset=4 * start * dimension).reshape(-1, dimension)

    before = held_bytes()
    started = time.perf_counter()
    index = VectorIndex(dimension, *([1_000] if QUICK else []))
    for start in range(0, size, _CHUNK):
        index.add(range(start, min(size, start + _CHUNK)), rows(start))
    index.settle()
    built = time.perf_counter() - started
    share = (held_bytes() - before) / (size * dimension * 4)
    found = [{i for i, _ in index.search(query, _K)} for query in queries]
    ours = milliseconds(lambda query: index.search(query, _K), queries)
    exact = faiss.IndexFlatIP(dimension)
    for start in range(0, size, _CHUNK):
        exact.add(rows(start))
    truth = exact.search(queries, _K)[1]
    theirs = milliseconds(lambda query: exact.search(query.reshape(1, -1), _K), queries[:200])
    recall = [len(own & set(true.tolist())) / _K for own, true in zip(found, truth, strict=True)]
    return {
        "recall": recall,
        "ours": ours,
        "exact": theirs,
        "build": built,
        "memory": share,
        "kind": "exact, half precision" if index.is_exact else "cells",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "SIZE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(Path(arguments.measure[0]), int(arguments.measure[1]))))
        return
    from headwater.evaluation import bootstrap_interval

    real = real_vectors()
    bench = Benchmark(
        "retrieval-scale",
        f"{SENTENCES - QUERIES:,} sentence vectors of minilm [384], filled up by interpolated neighbours with noise; "
        f"{QUERIES} held-out sentences one by one, one thread; exact: FAISS IndexFlatIP float32",
        seeds=[0],
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "queries.npy", real[-QUERIES:])
        filled_up(real[:-QUERIES], SIZES[-1]).tofile(folder / "rows.f32")
        for size in SIZES:
            command = [sys.executable, __file__, "--measure", name, str(size)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            add_rows(bench, size, json.loads(done.stdout.splitlines()[-1]), bootstrap_interval)
    bench.write()


def bar(value: float) -> float | None:
    """The bars are for full runs: a quick one makes cells where the index would search exactly."""
    return None if QUICK else value


def add_rows(bench: Benchmark, size: int, found: dict[str, Any], interval: Callable[..., Any]) -> None:
    label = f"{size:,} ({found['kind']})"
    recall = interval(np.array(found["recall"]))
    bench.add(Row(f"{label}: recall@10", recall.value, "", "higher", recall.low, recall.high, must=bar(0.99)))
    largest = size == SIZES[-1]
    for name, number, must in (("p50", 0, None), ("p95", 1, bar(10.0) if largest else None)):
        bench.add(
            Row(
                f"{label}: {name}",
                found["ours"][number],
                "ms",
                "lower",
                rival="exact float32",
                rival_value=found["exact"][number],
                must=must,
            )
        )
    bench.add(Row(f"{label}: memory beside float32", found["memory"], "x", "lower", must=bar(0.6)))
    bench.add(Row(f"{label}: build", found["build"], "s", "lower"))


if __name__ == "__main__":
    main()
