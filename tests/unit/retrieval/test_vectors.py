"""Vector search: exact when small, by cells when large, and every change counts at once in both."""

import numpy as np
import pytest
from numpy.typing import NDArray

from headwater.retrieval.vectors import VectorIndex


def unit_rows(count: int, seed: int, dimension: int = 32) -> NDArray[np.float32]:
    """Clustered unit rows, as texts of a few topics are; equal to half precision, which the index keeps."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(40, dimension))
    rows = centres[generator.integers(0, 40, count)] + 0.6 * generator.normal(size=(count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)


def nearest(rows: dict[int, NDArray[np.float32]], query: NDArray[np.float32], count: int) -> set[int]:
    ids = np.array(list(rows))
    scores = np.stack([rows[i] for i in ids.tolist()]) @ query
    return set(ids[np.argsort(-scores, kind="stable")[:count]].tolist())


def test_small_index_is_exact() -> None:
    index, vectors = VectorIndex(32), unit_rows(500, 0)
    index.add(range(10, 510), vectors)
    rows = dict(zip(range(10, 510), vectors, strict=True))
    for query in unit_rows(20, 1):
        assert {i for i, _ in index.search(query, 10)} == nearest(rows, query, 10)
    assert index.is_exact
    assert index.cosine(vectors[3], 13) == pytest.approx(1.0, abs=2e-3)


def test_large_index_finds_what_exact_search_finds() -> None:
    index, vectors = VectorIndex(32, exact_rows=2_000), unit_rows(6_000, 0)
    index.add(range(6_000), vectors)
    index.settle()
    assert not index.is_exact
    rows = dict(enumerate(vectors))
    found = [len({i for i, _ in index.search(q, 10)} & nearest(rows, q, 10)) / 10 for q in unit_rows(100, 1)]
    assert np.mean(found) >= 0.97


def test_changes_of_a_large_index_count_for_the_next_search() -> None:
    generator = np.random.default_rng(3)
    index, rows, serial = VectorIndex(32, exact_rows=1_000), {}, 0
    for step in range(120):
        new = {serial + i: row for i, row in enumerate(unit_rows(int(generator.integers(1, 60)), 100 + step))}
        serial += len(new) + int(generator.integers(0, 3))
        index.add(list(new), np.stack(list(new.values())))
        rows |= new
        gone = generator.choice(list(rows), min(len(rows) - 1, int(generator.integers(0, 25))), replace=False).tolist()
        index.remove(gone)
        gone_rows = [rows.pop(i) for i in gone]
        if step % 40 == 20:
            index.settle()
        assert len(index) == len(rows)
        for i in [*list(new)[:3], *generator.choice(list(rows), 3).tolist()]:
            if i in rows:
                best, score = index.search(rows[i], 1)[0]
                assert score >= float(rows[i] @ rows[i]) - 1e-3, f"step {step}: {i} is lost ({best} at {score})"
        for row in gone_rows[:3]:
            assert not {i for i, _ in index.search(row, 10)} & set(gone), f"step {step}: a removed row was found"
    index.settle()
    assert not index.is_exact


def test_emptied_large_index_is_exact_again() -> None:
    index = VectorIndex(32, exact_rows=1_000)
    index.add(range(3_000), unit_rows(3_000, 0))
    index.settle()
    index.remove(range(2_500))
    assert index.is_exact
    assert {i for i, _ in index.search(unit_rows(1, 5)[0], 600)} == set(range(2_500, 3_000))


def test_rows_that_come_out_of_order_keep_their_ids() -> None:
    index, vectors = VectorIndex(32), unit_rows(300, 0)
    index.add(range(200, 300), vectors[200:])
    index.add(range(0, 200, 2), vectors[0:200:2])
    index.add(range(1, 200, 2), vectors[1:200:2])
    for i in range(300):
        assert index.search(vectors[i], 1)[0][0] == i
        assert index.cosine(vectors[i], i) == pytest.approx(1.0, abs=2e-3)


def test_many_neighbours_removed_at_once_leave_the_rest_found() -> None:
    index, vectors = VectorIndex(32, exact_rows=1_000), unit_rows(5_000, 0)
    index.add(range(5_000), vectors)
    index.settle()
    query = vectors[0]
    near = np.argsort(-(vectors @ query))
    index.remove(near[:900].tolist())
    rows = {int(i): vectors[i] for i in near[900:]}
    assert len({i for i, _ in index.search(query, 10)} & nearest(rows, query, 10)) >= 9
