"""The encoders of a name over time: passages are searched with the one that they were embedded with."""

import threading
import weakref

from headwater.bundles import Registry
from headwater.errors import NotFound, Unavailable
from headwater.serving.encoder import Encoder, load_encoder


class Encoders:
    """Encoders of the versions of `name`, each loaded once, and dropped when nothing uses it any more.

    Unlike a classifier, a promoted encoder is not simply swapped: its vectors mean nothing to those of the one before.
    Safe to call from several threads.
    """

    def __init__(self, registry: Registry, name: str, threads: int = 0) -> None:
        self.name = name
        self._registry = registry
        self._threads = threads
        self._lock = threading.Lock()
        self._loaded: weakref.WeakValueDictionary[str, Encoder] = weakref.WeakValueDictionary()

    def current_id(self) -> str:
        """The id of the bundle in production. Raises Unavailable when there is none."""
        version = self._registry.production(self.name)
        if version is None:
            raise Unavailable(f"no version of {self.name} is in production; run: headwater setup")
        return version.bundle_id

    def get(self, embedder_id: str) -> Encoder:
        """The encoder of a bundle, whatever its stage. Raises NotFound when no version of the name has that id."""
        with self._lock:
            found = self._loaded.get(embedder_id)
            if found is None:
                version = next((v for v in self._registry.versions(self.name) if v.bundle_id == embedder_id), None)
                if version is None:
                    raise NotFound(f"{self.name} has no version of the bundle {embedder_id}; add it again")
                found = self._loaded[embedder_id] = load_encoder(self._registry.open(version), self._threads)
            return found
