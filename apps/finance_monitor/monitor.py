"""What the routes share: who may call them, and the database, models and companies, opened when first asked for."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Query
from fastapi import Path as PathParameter

from finance_monitor.companies import Gazetteer, fold
from finance_monitor.models import Models
from finance_monitor.worker import gazetteer_path, open_gazetteer
from headwater.storage.users import User
from headwater.web import Context, require

Viewer = Annotated[User, Depends(require("viewer"))]
Analyst = Annotated[User, Depends(require("analyst"))]
Editor = Annotated[User, Depends(require("editor"))]
Admin = Annotated[User, Depends(require("admin"))]
# PostgreSQL keeps no NUL in a text; whoever sends one is not naming anything that exists.
VISIBLE = r"^[^\x00-\x1f\x7f]*$"
Word = Annotated[str, Query(max_length=200, pattern=VISIBLE)]
Id = Annotated[str, PathParameter(max_length=200, pattern=VISIBLE)]
Limit = Annotated[int, Query(ge=1, le=500)]
# The first and the last moment that a query may name; beyond them the calendar ends.
_EARLIEST, _LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class Monitor:
    """What the routes share: the database, and models and companies that are opened when they are first asked for."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.settings = context.settings
        # Two: whoever loads models for seconds must not hold up those who ask for a company's name.
        self._lock, self._loading = threading.Lock(), threading.Lock()
        self._models: Models | None = None
        self._gazetteer: tuple[float, Gazetteer] | None = None

    @property
    def engine(self) -> Any:
        return self.context.engine("finance")

    @property
    def site(self) -> str:
        return self.settings.site

    def models(self) -> Models:
        """Raises Unavailable, with the way out, before the first set-up."""
        with self._loading:
            if self._models is None:
                models = Models(self.context.registry, self.settings.threads)
                models.load()
                self._models = models
            return self._models

    def gazetteer(self) -> Gazetteer:
        path = gazetteer_path(self.settings)
        stamp = path.stat().st_mtime if path.is_file() else 0.0
        with self._lock:
            if self._gazetteer is None or self._gazetteer[0] != stamp:
                self._gazetteer = (stamp, open_gazetteer(self.settings))
            return self._gazetteer[1]

    def resolver(self) -> Callable[[str], list[str]]:
        """The ids of the companies that a ticker, a name, an alias or an id can mean."""
        known: dict[str, dict[str, None]] = {}
        for one in self.gazetteer().companies:
            for word in (one.id, one.name, *one.aliases, one.ticker, f"{one.exchange}:{one.ticker}"):
                known.setdefault(fold(word.strip()), {})[one.id] = None
        known.pop("", None)
        return lambda text: list(known.get(fold(text.strip()), ()))


def clamped(moment: datetime) -> datetime:
    return min(max(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment, _EARLIEST), _LATEST)


def utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else clamped(moment)
