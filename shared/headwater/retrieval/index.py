"""The hybrid index of one site.

The database holds everything: documents, chunks and their vectors change in one transaction together with the
generation number, so a crash at any point leaves the old state or the new one. Each process searches in memory
(FAISS and BM25) and compares the generation before each query; when it has moved, the process takes over the
difference. Nothing is derived that could be stale, and nothing needs repair after `kill -9`.

With the generation stands which encoder the passages of each group of languages are embedded with. Questions, and new
passages, are embedded with that one, whichever is in production, until `reembed` has replaced all vectors of the group
in one transaction: a question is never compared with vectors of another encoder.
"""

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from headwater.errors import NotFound
from headwater.progress import Progress, Step, silent
from headwater.retrieval.documents import Chunk, Document, Section, split_document
from headwater.retrieval.embedding import Embedder, Embedders, Fixed, embed_passages
from headwater.retrieval.fusion import Weights
from headwater.retrieval.group import Group
from headwater.retrieval.tables import chunks as chunk_table
from headwater.retrieval.tables import documents as document_table
from headwater.retrieval.tables import generations
from headwater.storage.columns import now
from headwater.storage.engine import snapshot

_CANDIDATES = 40
_REST = "*"


class Reranker(Protocol):
    """Scores passages for a query anew; larger is better."""

    def score(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Upsert:
    """Add a document, or replace the one with its id."""

    document: Document


@dataclass(frozen=True)
class Delete:
    """Remove a document. Raises NotFound when it is not there."""

    id: str


@dataclass(frozen=True)
class Hit:
    """A chunk that answers, with the scores that put it there."""

    chunk: Chunk
    score: float
    cosine: float
    bm25: float
    rerank: float | None = None


@dataclass(frozen=True)
class Found:
    """Hits of one search, best first, with the question's unit vector [dimension] and the embedder that it is of."""

    hits: list[Hit]
    vector: NDArray[np.float32]
    embedder: Embedder


class Index:
    """Documents of `site`, searched by language: each group of languages has its own encoder and its own BM25.

    `embedders` maps a language to its encoder, or to those that it had over time; "*" serves every other language.
    Safe to call from several threads.
    """

    def __init__(
        self,
        engine: sa.Engine,
        site: str,
        embedders: Mapping[str, Embedder | Embedders],
        weights: Mapping[str, Weights] | None = None,
    ) -> None:
        self.site = site
        self._engine = engine
        self._embedders = {key: e if isinstance(e, Embedders) else Fixed(e) for key, e in embedders.items()}
        self.weights = dict(weights or {})
        self._lock = threading.Lock()
        self._generation = -1
        self._rows: dict[int, Chunk] = {}
        self._groups: dict[str, Group] = {}

    def generation(self) -> int:
        """The database's present generation; grows with every change."""
        query = sa.select(generations.c.generation).where(generations.c.site_id == self.site)
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar() or 0)

    def apply(self, changes: Sequence[Upsert | Delete], *, actor: str, progress: Progress = silent) -> int:
        """Make all changes in one transaction and return the new generation; an unchanged document costs nothing.

        Embeds only chunks whose text is new. Raises NotFound for a document to delete that does not exist; then
        nothing has changed.
        """
        upserts = [change.document for change in changes if isinstance(change, Upsert)]
        self._found()
        while True:
            encoders = self._encoders_of_site()
            prepared = self._prepare(upserts, encoders, progress)
            used = {self.group_of(row["language"]): row["encoder"] for rows in prepared.values() for row in rows}
            with self._engine.begin() as connection:
                stored = self._hold(connection)
                if any(stored.get(key, used[key]) != used[key] for key in used):
                    continue  # embedded anew by another process meanwhile; nothing was written yet
                for change in changes:
                    if isinstance(change, Delete):
                        self._delete(connection, change.id)
                    elif change.document.id in prepared:
                        self._replace(connection, change.document, prepared[change.document.id], actor)
                return self._next_generation(connection, used | stored)

    def _prepare(
        self, upserts: Sequence[Document], encoders: Mapping[str, str], progress: Progress
    ) -> dict[str, list[dict[str, Any]]]:
        """Rows of chunks with vectors for documents that are new or changed. `encoders`: {group: id}."""
        changed = [document for document in upserts if not self._is_current(document, encoders)]
        rows: dict[str, list[dict[str, Any]]] = {document.id: [] for document in changed}
        waiting: list[tuple[dict[str, Any], Embedder]] = []
        for document in changed:
            known = self._known_vectors(document.id)
            for chunk in split_document(document):
                key = self.group_of(chunk.language)
                embedder = self._embedders[key].get(encoders[key])
                row = {**asdict(chunk), "site_id": self.site, "encoder": embedder.id}
                row["vector"] = known.get((chunk.title, chunk.section, chunk.text, embedder.id))
                rows[document.id].append(row)
                if row["vector"] is None:
                    waiting.append((row, embedder))
        for embedder in {id(embedder): embedder for _, embedder in waiting}.values():
            own = [row for row, other in waiting if other is embedder]
            for row, vector in zip(own, embed_passages(embedder, own, progress), strict=True):
                row["vector"] = vector
        progress(Step(1, 1, "embedded"))
        return rows

    def _is_current(self, document: Document, current: Mapping[str, str]) -> bool:
        query = sa.select(document_table.c.content_hash).where(
            document_table.c.site_id == self.site, document_table.c.id == document.id
        )
        encoders = (
            sa.select(chunk_table.c.encoder)
            .distinct()
            .where(chunk_table.c.site_id == self.site, chunk_table.c.document_id == document.id)
        )
        with self._engine.connect() as connection:
            stored = connection.execute(query).scalar()
            used = set(connection.execute(encoders).scalars())
        return stored == content_hash(document) and used <= set(current.values())

    def _known_vectors(self, document_id: str) -> dict[tuple[str, str, str, str], bytes]:
        table = chunk_table.c
        query = sa.select(table.title, table.section, table.text, table.encoder, table.vector).where(
            table.site_id == self.site, table.document_id == document_id
        )
        with self._engine.connect() as connection:
            return {(t, s, text, encoder): vector for t, s, text, encoder, vector in connection.execute(query)}

    def _found(self) -> None:
        """Make the site's generation row; two first writers at once make one."""
        query = sa.select(generations.c.generation).where(generations.c.site_id == self.site)
        with self._engine.connect() as connection:
            if connection.execute(query).first() is not None:
                return
        try:
            with self._engine.begin() as connection:
                connection.execute(generations.insert().values(site_id=self.site, generation=0))
        except sa.exc.IntegrityError:
            # The other writer's row serves both.
            return

    def _hold(self, connection: sa.Connection) -> dict[str, str]:
        """Make the other writers of the site wait until the transaction ends; returns {group: encoder of its passages}.

        The first statement of every write, and on one row.
        """
        mine = generations.c.site_id == self.site
        query = sa.select(generations.c.encoders).where(mine).with_for_update()
        return dict(connection.execute(query).scalar_one() or {})

    def _next_generation(self, connection: sa.Connection, encoders: Mapping[str, str]) -> int:
        mine = generations.c.site_id == self.site
        values = {"generation": generations.c.generation + 1, "encoders": dict(encoders)}
        connection.execute(generations.update().where(mine).values(values))
        return int(connection.execute(sa.select(generations.c.generation).where(mine)).scalar_one())

    def _encoders_of_site(self) -> dict[str, str]:
        """{group: the encoder that its passages are embedded with, the one in production while there are none}."""
        with self._engine.connect() as connection:
            return self._complete(_read_generation(connection, self.site)[1])

    def _complete(self, stored: Mapping[str, str]) -> dict[str, str]:
        return {key: stored.get(key) or source.current_id() for key, source in self._embedders.items()}

    def _delete(self, connection: sa.Connection, document_id: str) -> None:
        gone = connection.execute(
            document_table.delete().where(document_table.c.site_id == self.site, document_table.c.id == document_id)
        )
        if gone.rowcount == 0:
            raise NotFound(f"there is no document {document_id!r} in {self.site}")
        self._delete_chunks(connection, document_id)

    def _delete_chunks(self, connection: sa.Connection, document_id: str) -> None:
        connection.execute(
            chunk_table.delete().where(chunk_table.c.site_id == self.site, chunk_table.c.document_id == document_id)
        )

    def _replace(self, connection: sa.Connection, document: Document, rows: list[dict[str, Any]], actor: str) -> None:
        self._delete_chunks(connection, document.id)
        connection.execute(
            document_table.delete().where(document_table.c.site_id == self.site, document_table.c.id == document.id)
        )
        connection.execute(
            document_table.insert().values(
                site_id=self.site,
                id=document.id,
                title=document.title,
                url=document.url,
                language=document.language,
                kind=document.kind,
                text=document.text,
                sections=[[section.start, section.title] for section in document.sections],
                content_hash=content_hash(document),
                updated=now(),
                actor=actor,
            )
        )
        if rows:
            connection.execute(chunk_table.insert(), rows)

    def group_of(self, language: str) -> str:
        """Which encoder a language uses: its own, or that of all others."""
        return language if language in self._embedders else _REST

    def refresh(self) -> None:
        """Take over what has changed in the database since the last look; cheap when nothing has."""
        if self.generation() == self._generation:
            return
        with self._lock:
            table = chunk_table.c
            # One snapshot: generation, row numbers and new rows belong together.
            with snapshot(self._engine) as connection:
                generation, stored = _read_generation(connection, self.site)
                encoders = self._complete(stored)
                # A group that was embedded anew: its rows are the same ones with other vectors.
                switched = {key for key, id_ in encoders.items() if self._encoder_in_memory(key) != id_}
                present = set(connection.execute(sa.select(table.row).where(table.site_id == self.site)).scalars())
                kept = {row for row, c in self._rows.items() if self.group_of(c.language) not in switched}
                loaded = list(_load_rows(connection, self.site, sorted(present - kept)))
            # Made before anything changes: when an encoder cannot be loaded, the former state stays whole.
            made = {key: Group(self._embedders[key].get(encoders[key])) for key in switched}
            self._take_over(made, set(self._rows) - present, loaded)
            self._generation = generation

    def _encoder_in_memory(self, key: str) -> str | None:
        return self._groups[key].embedder.id if key in self._groups else None

    def _take_over(
        self, made: dict[str, Group], gone: set[int], loaded: list[tuple[int, Chunk, str, NDArray[np.float32]]]
    ) -> None:
        rows = {row: chunk for row, chunk in self._rows.items() if row not in gone}
        rows |= {row: chunk for row, chunk, _, _ in loaded}
        groups = {**self._groups, **made}
        for key, group in groups.items():
            mine = [entry for entry in loaded if self.group_of(entry[1].language) == key]
            # Only a database from before encoders were recorded holds others; `reembed` mends it.
            usable = [entry for entry in mine if entry[2] == group.embedder.id]
            group.change(gone, usable, rows)
        # Whoever searches in a replaced group goes on in it: its vectors stay those of its encoder.
        self._rows, self._groups = rows, groups

    def outdated(self) -> list[str]:
        """Documents with vectors of another encoder than the one in production; `reembed` mends it."""
        found: set[str] = set()
        with self._engine.connect() as connection:
            for key, source in self._embedders.items():
                query = sa.select(chunk_table.c.document_id).distinct().where(*self._not_of(key, source.current_id()))
                found |= set(connection.execute(query).scalars())
        return sorted(found)

    def reembed(self, progress: Progress = silent) -> int:
        """Embed all passages with the encoders in production; returns how many had another one before.

        Of each group of languages, all vectors change in one transaction together with the encoder that questions are
        embedded with. Until then, and when this is cut off, everything goes on with the former encoder.
        """
        self._found()
        return sum(self._reembed_group(key, progress) for key in self._embedders)

    def _reembed_group(self, key: str, progress: Progress) -> int:
        columns = [chunk_table.c[name] for name in ("row", "title", "section", "text")]
        source = self._embedders[key]
        wanted, vectors = "", {}
        while True:
            if wanted != source.current_id():  # at first, and when another was promoted meanwhile
                wanted, vectors = source.current_id(), dict[int, bytes]()
            others = self._not_of(key, wanted)
            with self._engine.connect() as connection:
                rows = [dict(row._mapping) for row in connection.execute(sa.select(*columns).where(*others))]
            new = [row for row in rows if row["row"] not in vectors]
            if new:
                embedded = embed_passages(source.get(wanted), new, progress)
                vectors |= {row["row"]: vector for row, vector in zip(new, embedded, strict=True)}
            with self._engine.begin() as connection:
                stored = self._hold(connection)
                left = list(connection.execute(sa.select(chunk_table.c.row).where(*others)).scalars())
                if source.current_id() != wanted or not vectors.keys() >= set(left):
                    continue  # documents came meanwhile, or another promotion
                if left:
                    query = chunk_table.update().where(chunk_table.c.row == sa.bindparam("of_row"))
                    query = query.values(vector=sa.bindparam("new_vector"), encoder=wanted)
                    connection.execute(query, [{"of_row": row, "new_vector": vectors[row]} for row in left])
                if left or stored.get(key, wanted) != wanted:
                    self._next_generation(connection, {**stored, key: wanted})
                return len(left)

    def _not_of(self, key: str, encoder_id: str) -> list[sa.ColumnElement[bool]]:
        """Rows of a group of languages whose vectors are not of this encoder."""
        table = chunk_table.c
        own = [language for language in self._embedders if language != _REST]
        group = table.language.not_in(own) if key == _REST else table.language == key
        return [table.site_id == self.site, group, table.encoder != encoder_id]

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        language: str = "en",
        reranker: Reranker | None = None,
        query_vector: NDArray[np.float32] | None = None,
    ) -> list[Hit]:
        """The k best chunks for a question in `language`, best first, as of this moment in every process.

        `query_vector`: the question's, for whoever has it already and an embedder that never changes.
        """
        hits = self.look_up(query, k if reranker is None else max(_CANDIDATES, k), language, query_vector).hits
        if reranker is not None and hits:
            scores = reranker.score(query, [hit.chunk.text for hit in hits])
            hits = [Hit(h.chunk, h.score, h.cosine, h.bm25, float(s)) for h, s in zip(hits, scores, strict=True)]
            hits.sort(key=lambda hit: -(hit.rerank or 0.0))
        return hits[:k]

    def look_up(self, query: str, k: int, language: str, query_vector: NDArray[np.float32] | None = None) -> Found:
        """As `search`, with the question's vector and the embedder of this very search, to compare more texts with."""
        self.refresh()
        key = self.group_of(language)
        group = self._groups[key]
        if query_vector is None:
            query_vector = group.embed([query])[0]
        with self._lock:
            rows = self._rows
            found = group.search(query, query_vector, self.weights.get(key, Weights()), max(_CANDIDATES, k))
        hits = [Hit(rows[row], score, cosine, bm25) for row, score, cosine, bm25 in found if row in rows]
        return Found(hits[:k], query_vector, group.embedder)

    def documents(self, search: str = "", limit: int = 200, offset: int = 0) -> list[dict[str, Any]]:
        """Titles and sizes of the documents, newest change first; `search` filters by title, id or address."""
        table = document_table.c
        columns = (table.id, table.title, table.url, table.language, table.kind, table.updated, table.actor)
        size = sa.func.length(table.text).label("characters")
        query = sa.select(*columns, size).where(table.site_id == self.site)
        if search:
            parts = [column.icontains(search, autoescape=True) for column in (table.title, table.id, table.url)]
            query = query.where(sa.or_(*parts))
        query = query.order_by(table.updated.desc(), table.id).limit(limit).offset(offset)
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def document(self, document_id: str) -> Document:
        """A whole document. Raises NotFound."""
        table = document_table.c
        query = sa.select(document_table).where(table.site_id == self.site, table.id == document_id)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise NotFound(f"there is no document {document_id!r} in {self.site}")
        sections = tuple(Section(start, title) for start, title in row.sections)
        return Document(row.id, row.text, row.title, row.url, row.language, row.kind, sections)

    def __len__(self) -> int:
        self.refresh()
        return len(self._rows)


def _read_generation(connection: sa.Connection, site: str) -> tuple[int, dict[str, str]]:
    """The site's generation, and {group: encoder of its passages}."""
    query = sa.select(generations.c.generation, generations.c.encoders).where(generations.c.site_id == site)
    row = connection.execute(query).first()
    return (0, {}) if row is None else (int(row.generation), dict(row.encoders or {}))


def _load_rows(
    connection: sa.Connection, site: str, rows: Sequence[int]
) -> Iterable[tuple[int, Chunk, str, NDArray[np.float32]]]:
    table = chunk_table.c
    names = (table.id, table.document_id, table.text, table.start, table.end, table.title, table.section, table.url)
    query = sa.select(table.row, table.encoder, table.vector, *names, table.language).where(table.site_id == site)
    # Row numbers only grow, so new rows lie above the smallest of them; databases limit the length of an IN list.
    wanted = set(rows)
    if wanted:
        for row, encoder, vector, *values in connection.execute(query.where(table.row >= min(wanted))):
            if row in wanted:
                yield row, Chunk(*values), encoder, np.frombuffer(vector, np.float16).astype(np.float32)


def content_hash(document: Document) -> str:
    """Changes with anything that a search result shows of the document."""
    return hashlib.sha256(json.dumps(asdict(document), sort_keys=True).encode()).hexdigest()
