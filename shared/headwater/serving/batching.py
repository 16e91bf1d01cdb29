"""Micro-batching: calls of many threads joined into one run of the model.

A lone call runs at once. While a run is going on, calls queue up and form the next batch, so that under load the
batch grows by itself and without load nothing waits.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from headwater.errors import Unavailable

Item = TypeVar("Item")


class MicroBatcher(Generic[Item]):
    """Joins calls to `function(items) -> rows [n, …]`; at most `largest` items a run, `queue` calls waiting."""

    def __init__(
        self, function: Callable[[Sequence[Item]], NDArray[np.float32]], largest: int = 32, queue: int = 256
    ) -> None:
        self._function = function
        self._largest = largest
        self._queue = queue
        self._lock = threading.Lock()
        self._running = False
        self._waiting: list[tuple[Sequence[Item], Future[NDArray[np.float32]]]] = []

    def __call__(self, items: Sequence[Item]) -> NDArray[np.float32]:
        """Rows for `items`. Raises what the function raised for this call's batch, Unavailable when too many wait."""
        future: Future[NDArray[np.float32]] = Future()
        with self._lock:
            if len(self._waiting) >= self._queue:
                raise Unavailable(f"{self._queue} requests wait for this model already; try again in a moment")
            self._waiting.append((items, future))
            leads = not self._running
            self._running = True
        if leads:
            self._lead(future)
        return future.result()

    def _lead(self, own: Future[NDArray[np.float32]]) -> None:
        """Run batches until nothing waits; the lead goes to a thread once the own call is served."""
        while True:
            with self._lock:
                batch = self._take()
                if not batch:
                    self._running = False
                    return
            self._run(batch)
            if own.done():
                with self._lock:
                    if not self._waiting:
                        self._running = False
                        return
                threading.Thread(target=self._lead, args=(Future(),), daemon=True).start()
                return

    def _take(self) -> list[tuple[Sequence[Item], Future[NDArray[np.float32]]]]:
        count, total = 0, 0
        for items, _ in self._waiting:
            if count and total + len(items) > self._largest:
                break
            count, total = count + 1, total + len(items)
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    def _run(self, batch: list[tuple[Sequence[Item], Future[NDArray[np.float32]]]]) -> None:
        try:
            rows = self._function([item for items, _ in batch for item in items])
        except BaseException as error:  # noqa: BLE001 - handed to the callers, who raise it
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            for call in batch:  # one bad call must not fail the others
                self._run([call])
            return
        start = 0
        for items, future in batch:
            future.set_result(rows[start : start + len(items)])
            start += len(items)
