"""The registry: name → versions → stage. A promotion is one transaction and one new generation number."""

import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from headwater.bundles.bundle import Bundle, open_bundle
from headwater.bundles.tables import bundle_names, bundles
from headwater.errors import Conflict, HeadwaterError, NotFound
from headwater.settings import Settings
from headwater.storage.columns import now

CANDIDATE, PRODUCTION, ARCHIVED = "candidate", "production", "archived"


@dataclass(frozen=True)
class Version:
    """One registered bundle. `verdict` is what the gate said when it was promoted, None before."""

    name: str
    version: int
    stage: str
    bundle_id: str
    folder: str
    actor: str
    verdict: dict[str, Any] | None
    created: datetime
    promoted: datetime | None


class Registry:
    """Bundles by name and version; their files lie under `folder` (home/bundles)."""

    def __init__(self, engine: sa.Engine, folder: Path) -> None:
        self._engine = engine
        self.folder = folder

    def add(self, name: str, bundle: Bundle, *, actor: str, gate_set: str | None = None) -> Version:
        """Register a bundle as the next candidate of `name`; its files are copied under the registry's folder.

        The same bundle twice gives the version it already has.
        """
        _check_name(name)
        target = self.folder / name / bundle.id
        if bundle.path.absolute() != target.absolute() and not target.exists():
            _copy(bundle.path, target)
        open_bundle(target)
        with self._engine.begin() as connection:
            _hold_name(connection, name, gate_set)
            of_name = sa.select(bundles.c.version).where(bundles.c.name == name).order_by(bundles.c.version.desc())
            number = connection.execute(of_name.where(bundles.c.bundle_id == bundle.id)).scalar()
            if number is None:
                number = int(connection.execute(of_name).scalar() or 0) + 1
                connection.execute(
                    bundles.insert().values(
                        name=name,
                        version=number,
                        stage=CANDIDATE,
                        bundle_id=bundle.id,
                        folder=f"{name}/{bundle.id}",
                        actor=actor,
                        created=now(),
                    )
                )
        return self.version(name, number)

    def names(self) -> list[str]:
        with self._engine.connect() as connection:
            return list(connection.execute(sa.select(bundle_names.c.name).order_by(bundle_names.c.name)).scalars())

    def versions(self, name: str) -> list[Version]:
        """Newest first; empty for an unknown name."""
        query = sa.select(bundles).where(bundles.c.name == name).order_by(bundles.c.version.desc())
        with self._engine.connect() as connection:
            return [Version(**row._mapping) for row in connection.execute(query)]

    def version(self, name: str, number: int | None = None) -> Version:
        """A version by number; without one the production version, else the newest. Raises NotFound."""
        found = self.versions(name)
        if not found:
            known = ", ".join(self.names()) or "none"
            raise NotFound(f"no bundle is registered as {name!r}; registered: {known}")
        if number is None:
            return next((v for v in found if v.stage == PRODUCTION), found[0])
        for version in found:
            if version.version == number:
                return version
        raise NotFound(f"{name} has no version {number}; it has: {', '.join(str(v.version) for v in found)}")

    def resolve(self, reference: str) -> Bundle:
        """The bundle of "name" (production, else newest) or "name@version"."""
        name, _, number = reference.partition("@")
        if number and not number.isdigit():
            raise HeadwaterError(f"{reference!r}: a version is a number, as in {name}@3")
        return self.open(self.version(name, int(number) if number else None))

    def open(self, version: Version) -> Bundle:
        return open_bundle(self.folder / version.folder)

    def production(self, name: str) -> Version | None:
        """The version in production, or None."""
        return next((v for v in self.versions(name) if v.stage == PRODUCTION), None)

    def gate_set(self, name: str) -> str | None:
        """The labelled file that promotions of `name` are judged on, relative names under the registry's folder."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(bundle_names.c.gate_set).where(bundle_names.c.name == name)).scalar()

    def generation(self, name: str) -> int:
        """A number that grows with every change of the production version; 0 before the first."""
        with self._engine.connect() as connection:
            found = connection.execute(sa.select(bundle_names.c.generation).where(bundle_names.c.name == name)).scalar()
        return int(found or 0)

    def set_production(
        self,
        name: str,
        number: int,
        *,
        expected: int | None,
        actor: str,
        verdict: dict[str, Any] | None = None,
        back: bool = False,
    ) -> Version:
        """Make a version the production one in one transaction, archiving the one before.

        `expected` is the production version that the decision was made against (None: there was none); Conflict when
        it has changed meanwhile. `back`: a rollback; the version keeps the time of its promotion, and the replaced one
        loses its own, so that it no longer counts as an earlier production version.
        """
        with self._engine.begin() as connection:
            _hold_name(connection, name)
            current = connection.execute(
                sa.select(bundles.c.version).where(bundles.c.name == name, bundles.c.stage == PRODUCTION)
            ).scalar()
            if current != expected:
                raise Conflict(
                    f"the production version of {name} is now {current}, not {expected}; look again and retry"
                )
            replaced: dict[str, Any] = {"stage": ARCHIVED} | ({"promoted": None} if back else {})
            connection.execute(
                bundles.update().where(bundles.c.name == name, bundles.c.stage == PRODUCTION).values(replaced)
            )
            chosen: dict[str, Any] = {"stage": PRODUCTION, "verdict": verdict, "actor": actor}
            changed = connection.execute(
                bundles.update()
                .where(bundles.c.name == name, bundles.c.version == number)
                .values(chosen if back else chosen | {"promoted": now()})
            )
            if changed.rowcount != 1:
                raise NotFound(f"{name} has no version {number}")
            connection.execute(
                bundle_names.update()
                .where(bundle_names.c.name == name)
                .values(generation=bundle_names.c.generation + 1)
            )
        return self.version(name, number)


def open_registry(settings: Settings, engine: sa.Engine) -> Registry:
    """The registry of this home; `engine` is the house database's."""
    return Registry(engine, settings.folder("bundles"))


def find_bundle(reference: str, settings: Settings) -> Bundle:
    """The bundle that `reference` names: a run folder, a bundle folder, or name[@version] in the registry."""
    folder = Path(reference)
    if (folder / "bundle" / "manifest.json").is_file():
        return open_bundle(folder / "bundle")
    if (folder / "manifest.json").is_file():
        return open_bundle(folder)
    if folder.is_dir():
        raise NotFound(f"{folder} holds neither a bundle (manifest.json) nor a finished run (bundle/manifest.json)")
    from headwater.storage.engine import open_engine
    from headwater.storage.migrations import migrate

    engine = open_engine(settings, "house")
    migrate(engine, "house")
    return open_registry(settings, engine).resolve(reference)


def _hold_name(connection: sa.Connection, name: str, gate_set: str | None = None) -> None:
    """Make the name known and hold its row until the transaction ends.

    SQLite has one writer; in PostgreSQL two would otherwise decide on the same state, each unseen by the other.
    """
    row = sa.select(bundle_names.c.name).where(bundle_names.c.name == name).with_for_update()
    if connection.execute(row).scalar() is None:
        try:
            with connection.begin_nested():
                connection.execute(bundle_names.insert().values(name=name, gate_set=gate_set, generation=0))
        except sa.exc.IntegrityError:  # another writer was first, and has committed by now
            connection.execute(row)
    if gate_set is not None:
        connection.execute(bundle_names.update().where(bundle_names.c.name == name).values(gate_set=gate_set))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        shutil.copytree(source, partial, dirs_exist_ok=True)
        partial.chmod(0o755)
        partial.rename(target)
    except OSError:
        if not target.exists():  # else another process registered the same bundle meanwhile
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_name(name: str) -> None:
    if not name or not all(c.isascii() and (c.isalnum() or c in "-_") for c in name) or len(name) > 64:
        raise HeadwaterError(f"a bundle's name has letters, digits, - and _ (at most 64), not {name!r}")
