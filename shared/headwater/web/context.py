"""What an app's router is given: settings, databases, registry, and where to hook into start and stop."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import sqlalchemy as sa
from prometheus_client import CollectorRegistry

from headwater.bundles import Registry, open_registry
from headwater.settings import Settings
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate
from headwater.storage.users import ensure_admin_token

_RETRY_SECONDS = 2.0
_log = logging.getLogger("headwater.web")


@dataclass(frozen=True)
class AllowedJob:
    """A command that may be submitted over HTTP: its first words, the least role, and whether it is heavy."""

    words: tuple[str, ...]
    role: str
    heavy: bool = False


@dataclass
class Context:
    """One a process. Routers read it through a closure; it is safe to use from many threads."""

    settings: Settings
    registry: Registry
    metrics: CollectorRegistry
    engines: dict[str, sa.Engine]
    allowed_jobs: list[AllowedJob] = field(default_factory=list)
    _warm_ups: dict[str, Callable[[], None]] = field(default_factory=dict)
    _waiting: dict[str, str] = field(default_factory=dict)
    _closers: list[Callable[[], None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def engine(self, database: str) -> sa.Engine:
        """The engine of a database, migrated; opened at first use."""
        with self._lock:
            if database not in self.engines:
                engine = open_engine(self.settings, database)
                migrate(engine, database)
                self.engines[database] = engine
            return self.engines[database]

    def add_warm_up(self, name: str, function: Callable[[], None]) -> None:
        """Run `function` in the background at start, again until it succeeds; /readyz waits for it."""
        self._warm_ups[name] = function
        self._waiting[name] = "not begun"

    def add_closer(self, function: Callable[[], None]) -> None:
        """Call `function` at shutdown, the last one first."""
        self._closers.append(function)

    def waiting(self) -> dict[str, str]:
        """What is not ready yet, and why."""
        return dict(self._waiting)

    def start(self) -> None:
        """Begin the warm-ups, one thread after the other's model would fight for the same cores: one thread for all."""
        threading.Thread(target=self._warm_up_all, name="warm-up", daemon=True).start()

    def close(self) -> None:
        """Stop warming up, run the closers, close the databases."""
        self._stopping.set()
        for function in reversed(self._closers):
            function()
        with self._lock:  # a warm-up may be opening one
            for engine in self.engines.values():
                engine.dispose()

    def _warm_up_all(self) -> None:
        while self._waiting and not self._stopping.is_set():
            for name in list(self._waiting):
                if self._stopping.is_set():
                    return
                try:
                    self._warm_ups[name]()
                except Exception as error:  # noqa: BLE001 - whatever it is, it is shown by /readyz and tried again
                    if str(error) != self._waiting[name]:
                        _log.warning("%s is not ready: %s", name, error)
                    self._waiting[name] = str(error) or type(error).__name__
                else:
                    del self._waiting[name]
            if self._waiting:
                self._stopping.wait(_RETRY_SECONDS)


def open_context(settings: Settings) -> Context:
    """Open and migrate the house database, make the admin token at first start."""
    house = open_engine(settings, "house")
    migrate(house, "house")
    ensure_admin_token(settings, house)
    return Context(settings, open_registry(settings, house), CollectorRegistry(), {"house": house})
