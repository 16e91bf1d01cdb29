"""The production model of a name, swapped while requests run."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from headwater.bundles import Bundle, Registry
from headwater.errors import HeadwaterError, Unavailable

Model = TypeVar("Model")
# A promotion is taken up within this time; each check is one indexed read of the database.
_CHECK_SECONDS = 0.5
_log = logging.getLogger("headwater.serving")


class Live(Generic[Model]):
    """`get()` gives the model of the production version; a request keeps the one that it got.

    A promoted bundle that cannot be loaded is logged, and the former model goes on.
    """

    def __init__(self, registry: Registry, name: str, load: Callable[[Bundle], Model]) -> None:
        self.name = name
        self._registry = registry
        self._load = load
        self._lock = threading.Lock()
        self._model: Model | None = None
        self._generation = 0
        self._checked = 0.0

    def get(self) -> Model:
        """The current model. Raises Unavailable when nothing is in production."""
        model = self._model
        if model is not None and time.monotonic() - self._checked < _CHECK_SECONDS:
            return model
        if model is not None and not self._lock.acquire(blocking=False):
            return model  # another thread looks or loads; this request goes on with the present model
        if model is None:
            self._lock.acquire()
        try:
            return self._refresh()
        finally:
            self._lock.release()

    def available(self) -> bool:
        """Whether a production version exists."""
        return self._model is not None or self._registry.production(self.name) is not None

    def _refresh(self) -> Model:
        generation = self._registry.generation(self.name)
        if self._model is None or generation != self._generation:
            version = self._registry.production(self.name)
            if version is None:
                if self._model is not None:
                    return self._model
                raise Unavailable(f"no version of {self.name} is in production; run: headwater setup")
            try:
                self._model = self._load(self._registry.open(version))
            except HeadwaterError as error:
                if self._model is None:
                    raise
                # A damaged bundle must not take down what answers now; it is tried again at the next promotion.
                _log.error("%s@%d cannot be loaded, the former goes on: %s", self.name, version.version, error)
            self._generation = generation
        self._checked = time.monotonic()
        return self._model
