"""The registry: name → versions → stage. A promotion is one transaction and one new generation number."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from headwater.bundles.bundle import Bundle, open_bundle
from headwater.bundles.tables import bundle_names, bundles
from headwater.data import TextExample, read_texts
from headwater.errors import Conflict, HeadwaterError, NotFound
from headwater.settings import Settings
from headwater.storage.columns import now

CANDIDATE, PRODUCTION, ARCHIVED = "candidate", "production", "archived"
_GATE = "gate-"


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

    def add(
        self,
        name: str,
        bundle: Bundle,
        *,
        actor: str,
        gate: Sequence[TextExample] | None = None,
        replace_gate: bool = False,
    ) -> Version:
        """Register a bundle as the next candidate of `name`; its files are copied under the registry's folder.

        The same bundle twice gives the version it already has. `gate`: the labelled texts that promotions of the name
        are judged on, kept under the registry's folder too; Conflict when the name has others, unless `replace_gate`.
        """
        _check_name(name)
        gate_file = None if gate is None else self._keep_gate(name, bundle, gate)
        target = self.folder / name / bundle.id
        if bundle.path.absolute() != target.absolute() and not target.exists():
            _copy(bundle.path, target)
        open_bundle(target)
        with self._engine.begin() as connection:
            _hold_name(connection, name)
            if gate_file is not None:
                _set_gate(connection, name, gate_file, replace_gate)
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

    def gate(self, name: str) -> list[TextExample]:
        """The labelled texts that promotions of `name` are judged on; empty when it was given none.

        Raises NotFound when their file is gone, HeadwaterError when it was altered.
        """
        with self._engine.connect() as connection:
            stored = connection.execute(sa.select(bundle_names.c.gate_set).where(bundle_names.c.name == name)).scalar()
        if stored is None:
            return []
        path = self.folder / stored
        # Labels are lists in the file; a separator (which no label holds) lets rows without a label pass.
        result = read_texts(path, label_separator="\n")
        if path.name.startswith(_GATE) and path.name != _gate_name(path.read_bytes()):
            raise HeadwaterError(
                f"the gate set {path} was altered; give {name} one again: "
                f"headwater registry add {name} BUNDLE --gate FILE --replace-gate"
            )
        return result.examples

    def _keep_gate(self, name: str, bundle: Bundle, gate: Sequence[TextExample]) -> str:
        """Write the gate set under its hash, after checks that need no lock; returns its place in the folder."""
        if bundle.manifest.kind != "classifier":
            raise HeadwaterError(
                f"a bundle of kind {bundle.manifest.kind} cannot be judged on labelled texts; leave out the gate set"
            )
        known = set(bundle.manifest.labels)
        if not any(set(example.labels) <= known for example in gate):
            raise HeadwaterError(
                f"no text of the gate set has a label of this bundle (such as {', '.join(sorted(known)[:3])}); "
                "name another file"
            )
        rows = [{"text": example.text, "label": list(example.labels)} for example in gate]
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        path = self.folder / name / _gate_name(content)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
            part.write(content)
        Path(part.name).replace(path)
        return f"{name}/{path.name}"

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


def _hold_name(connection: sa.Connection, name: str) -> None:
    """Make the name known and hold its row until the transaction ends.

    SQLite has one writer; in PostgreSQL two would otherwise decide on the same state, each unseen by the other.
    """
    row = sa.select(bundle_names.c.name).where(bundle_names.c.name == name).with_for_update()
    if connection.execute(row).scalar() is None:
        try:
            with connection.begin_nested():
                connection.execute(bundle_names.insert().values(name=name, gate_set=None, generation=0))
        except sa.exc.IntegrityError:  # another writer was first, and has committed by now
            connection.execute(row)


def _set_gate(connection: sa.Connection, name: str, file: str, replaces: bool) -> None:
    mine = bundle_names.c.name == name
    stored = connection.execute(sa.select(bundle_names.c.gate_set).where(mine)).scalar()
    if stored not in (None, file) and not replaces:
        raise Conflict(
            f"{name} has another gate set already ({stored}), on which its versions were compared; "
            "leave it out, or replace it with --replace-gate"
        )
    connection.execute(bundle_names.update().where(mine).values(gate_set=file))


def _gate_name(content: bytes) -> str:
    return f"{_GATE}{hashlib.sha256(content).hexdigest()[:16]}.jsonl"


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
