"""Calls of many threads share runs of the model; none sees another's rows or errors."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from headwater.bundles import Bundle
from headwater.errors import Unavailable
from headwater.serving import MicroBatcher, load_classifier


def test_joined_calls_of_threads_give_what_single_calls_give(word_classifier: Callable[..., Bundle]) -> None:
    generator = np.random.default_rng(0)
    words = {f"w{n}": tuple(generator.normal(0, 3, 4)) for n in range(200)}
    classifier = load_classifier(word_classifier("a", words, ("a", "b", "c", "d")))
    texts = [
        [" ".join(generator.choice(list(words), generator.integers(1, 40))) for _ in range(n % 3 + 1)]
        for n in range(200)
    ]
    alone = [classifier.probabilities(call) for call in texts]
    sizes: list[int] = []

    def counted(items: Sequence[str]) -> np.ndarray:
        sizes.append(len(items))
        time.sleep(0.002)
        return classifier.probabilities(items)

    with ThreadPoolExecutor(16) as pool:
        joined = list(pool.map(MicroBatcher(counted), texts))
    for one, other in zip(alone, joined, strict=True):
        assert np.abs(one - other).max() < 1e-6
    assert sum(sizes) == sum(map(len, texts))
    assert len(sizes) < len(texts) / 2


def test_lone_call_runs_at_once_in_its_own_thread() -> None:
    threads: list[int] = []

    def run(items: Sequence[int]) -> np.ndarray:
        threads.append(threading.get_ident())
        return np.zeros((len(items), 1), np.float32)

    MicroBatcher(run)([1])
    assert threads == [threading.get_ident()]


def test_batch_stays_below_its_limit_and_a_larger_call_is_not_torn() -> None:
    sizes: list[int] = []
    release = threading.Event()

    def run(items: Sequence[int]) -> np.ndarray:
        sizes.append(len(items))
        release.wait(5)
        return np.array(items, np.float32)[:, None]

    batcher = MicroBatcher(run, largest=4)
    with ThreadPoolExecutor(12) as pool:
        calls = [pool.submit(batcher, [n]) for n in range(9)]
        calls.append(pool.submit(batcher, list(range(100, 107))))
        wait_until(lambda: len(batcher._waiting) == 9)
        release.set()
        rows = [call.result(5) for call in calls]
    assert [row.ravel().tolist() for row in rows] == [[n] for n in range(9)] + [list(range(100, 107))]
    assert max(size for size in sizes if size != 7) == 4
    assert sizes.count(7) == 1


def test_error_of_one_call_reaches_that_call_alone() -> None:
    gate = threading.Event()

    def run(items: Sequence[int]) -> np.ndarray:
        gate.wait(5)
        if 13 in items:
            raise ValueError("thirteen")
        return np.array(items, np.float32)[:, None]

    batcher = MicroBatcher(run)
    with ThreadPoolExecutor(8) as pool:
        calls = {n: pool.submit(batcher, [n]) for n in (1, 2, 13, 4, 5, 6)}
        wait_until(lambda: len(batcher._waiting) == 5)
        gate.set()
        for number, call in calls.items():
            if number == 13:
                with pytest.raises(ValueError, match="thirteen"):
                    call.result(5)
            else:
                assert call.result(5).tolist() == [[number]]
    assert batcher([7]).tolist() == [[7]]


def test_overfull_queue_is_refused_at_once_and_recovers() -> None:
    gate = threading.Event()

    def run(items: Sequence[int]) -> np.ndarray:
        gate.wait(5)
        return np.array(items, np.float32)[:, None]

    batcher = MicroBatcher(run, queue=3)
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(batcher, [0])]
        wait_until(lambda: batcher._running and not batcher._waiting)
        calls += [pool.submit(batcher, [n]) for n in (1, 2, 3)]
        wait_until(lambda: len(batcher._waiting) == 3)
        with pytest.raises(Unavailable, match="3 requests wait for this model already; try again"):
            batcher([9])
        gate.set()
        assert [call.result(5)[0, 0] for call in calls] == [0, 1, 2, 3]
    assert batcher([7]).tolist() == [[7]]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
