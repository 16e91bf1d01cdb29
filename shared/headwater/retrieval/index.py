"""The hybrid index of one site.

The database holds everything: documents, chunks and their vectors change in one transaction together with the
generation number, so a crash at any point leaves the old state or the new one. Each process searches in memory
(FAISS and BM25) and compares the generation before each query; when it has moved, the process takes over the
difference. Nothing is derived that could be stale, and nothing needs repair after `kill -9`.
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
from headwater.retrieval.fusion import Weights
from headwater.retrieval.lexical import LexicalIndex, inverse_frequencies, tokenise
from headwater.retrieval.tables import chunks as chunk_table
from headwater.retrieval.tables import documents as document_table
from headwater.retrieval.tables import generations
from headwater.retrieval.vectors import VectorIndex
from headwater.storage.columns import now
from headwater.storage.engine import snapshot

_CANDIDATES = 40
_EMBED_ROWS = 64
_REST = "*"
# The base of the lexical index is rebuilt when the changes since have grown to this share of it.
_REBUILD_SHARE = 0.1
_REBUILD_LEAST = 200


class Embedder(Protocol):
    """Texts → unit vectors; `id` changes whenever the vectors would."""

    id: str
    dimension: int

    def encode(self, texts: Sequence[str], kind: str = "plain") -> NDArray[np.float32]: ...


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


class Index:
    """Documents of `site`, searched by language: each group of languages has its own encoder and its own BM25.

    `embedders` maps a language to its encoder; "*" serves every other one. Safe to call from several threads.
    """

    def __init__(
        self,
        engine: sa.Engine,
        site: str,
        embedders: Mapping[str, Embedder],
        weights: Mapping[str, Weights] | None = None,
    ) -> None:
        self.site = site
        self._engine = engine
        self._embedders = dict(embedders)
        self.weights = dict(weights or {})
        self._lock = threading.Lock()
        self._generation = -1
        self._rows: dict[int, Chunk] = {}
        self._groups = {key: _Group(embedder) for key, embedder in self._embedders.items()}

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
        prepared = self._prepare(upserts, progress)
        self._found()
        with self._engine.begin() as connection:
            generation = self._next_generation(connection)
            for change in changes:
                if isinstance(change, Delete):
                    self._delete(connection, change.id)
                elif change.document.id in prepared:
                    self._replace(connection, change.document, prepared[change.document.id], actor)
        return generation

    def _prepare(self, upserts: Sequence[Document], progress: Progress) -> dict[str, list[dict[str, Any]]]:
        """Rows of chunks with vectors for documents that are new or changed."""
        changed = [document for document in upserts if not self._is_current(document)]
        rows: dict[str, list[dict[str, Any]]] = {document.id: [] for document in changed}
        waiting: list[tuple[dict[str, Any], Embedder]] = []
        for document in changed:
            known = self._known_vectors(document.id)
            for chunk in split_document(document):
                embedder = self._embedders[self.group_of(chunk.language)]
                row = {**asdict(chunk), "site_id": self.site, "encoder": embedder.id}
                row["vector"] = known.get((chunk.title, chunk.section, chunk.text, embedder.id))
                rows[document.id].append(row)
                if row["vector"] is None:
                    waiting.append((row, embedder))
        for embedder in {id(embedder): embedder for _, embedder in waiting}.values():
            own = [row for row, other in waiting if other is embedder]
            for start in range(0, len(own), _EMBED_ROWS):
                part = own[start : start + _EMBED_ROWS]
                progress(Step(start, len(own), "embedding"))
                vectors = embedder.encode([passage_text(row) for row in part], "passage")
                for row, vector in zip(part, vectors, strict=True):
                    row["vector"] = vector.astype(np.float16).tobytes()
        progress(Step(1, 1, "embedded"))
        return rows

    def _is_current(self, document: Document) -> bool:
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
        return stored == content_hash(document) and used <= {embedder.id for embedder in self._embedders.values()}

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

    def _next_generation(self, connection: sa.Connection) -> int:
        # The first write of the transaction, and to one row: writers of a site wait for each other here.
        mine = generations.c.site_id == self.site
        connection.execute(generations.update().where(mine).values(generation=generations.c.generation + 1))
        return int(connection.execute(sa.select(generations.c.generation).where(mine)).scalar_one())

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
                generation = connection.execute(
                    sa.select(generations.c.generation).where(generations.c.site_id == self.site)
                ).scalar()
                present = set(connection.execute(sa.select(table.row).where(table.site_id == self.site)).scalars())
                fresh = sorted(present - self._rows.keys())
                loaded = list(_load_rows(connection, self.site, fresh))
            self._take_over(set(self._rows) - present, loaded)
            self._generation = int(generation or 0)

    def _take_over(self, gone: set[int], loaded: list[tuple[int, Chunk, str, NDArray[np.float32]]]) -> None:
        rows = {row: chunk for row, chunk in self._rows.items() if row not in gone}
        rows |= {row: chunk for row, chunk, _, _ in loaded}
        for key, group in self._groups.items():
            mine = [entry for entry in loaded if self.group_of(entry[1].language) == key]
            # Vectors of another encoder (its model was promoted since) wait for `reembed`.
            usable = [entry for entry in mine if entry[2] == group.embedder.id]
            group.change(gone, usable, rows)
        self._rows = rows

    def outdated(self) -> list[str]:
        """Documents with vectors of an encoder that is no longer the one in use; `apply` them again to mend it."""
        table = chunk_table.c
        ids = {embedder.id for embedder in self._embedders.values()}
        query = sa.select(table.document_id).distinct().where(table.site_id == self.site, table.encoder.not_in(ids))
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        language: str = "en",
        reranker: Reranker | None = None,
        query_vector: NDArray[np.float32] | None = None,
    ) -> list[Hit]:
        """The k best chunks for a question in `language`, best first, as of this moment in every process."""
        self.refresh()
        key = self.group_of(language)
        group = self._groups[key]
        if len(group.vectors) == 0:
            return []
        if query_vector is None:
            # Outside the lock: encoders join the questions of several threads into one batch.
            query_vector = group.embedder.encode([query], "query")[0]
        with self._lock:
            rows = self._rows
            found = group.search(query, query_vector, self.weights.get(key, Weights()), max(_CANDIDATES, k))
        hits = [Hit(rows[row], score, cosine, bm25) for row, score, cosine, bm25 in found if row in rows]
        if reranker is not None and hits:
            scores = reranker.score(query, [hit.chunk.text for hit in hits])
            hits = [Hit(h.chunk, h.score, h.cosine, h.bm25, float(s)) for h, s in zip(hits, scores, strict=True)]
            hits.sort(key=lambda hit: -(hit.rerank or 0.0))
        return hits[:k]

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


class _Group:
    """The chunks of one encoder: vectors, a lexical base, and the few rows that came since the base was built."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.vectors = VectorIndex(embedder.dimension)
        self._members: set[int] = set()
        self._base_rows: list[int] = []
        self._base = LexicalIndex([])
        self._late_rows: list[int] = []
        self._late = LexicalIndex([])
        # Where a row stands: position, and whether in the late part.
        self._place: dict[int, tuple[int, bool]] = {}

    def change(
        self, gone: set[int], new: list[tuple[int, Chunk, str, NDArray[np.float32]]], rows: Mapping[int, Chunk]
    ) -> None:
        leaving = gone & self._members
        if not leaving and not new:
            return
        self.vectors.remove(sorted(leaving))
        if new:
            self.vectors.add([entry[0] for entry in new], np.stack([entry[3] for entry in new]))
        self._members = (self._members - leaving) | {entry[0] for entry in new}
        late = [row for row in self._late_rows if row not in leaving] + [entry[0] for entry in new]
        dead = len(self._base_rows) - sum(row in self._members for row in self._base_rows)
        if len(late) + dead > max(_REBUILD_LEAST, _REBUILD_SHARE * len(self._base_rows)) or not self._base_rows:
            self._base_rows, self._late_rows = sorted(self._members), []
            self._base, self._late = (
                LexicalIndex([_lexical_text(rows[row]) for row in self._base_rows]),
                LexicalIndex([]),
            )
        else:
            self._late_rows = late
            self._late = LexicalIndex([_lexical_text(rows[row]) for row in late])
        self._place = {row: (place, False) for place, row in enumerate(self._base_rows)}
        self._place |= {row: (place, True) for place, row in enumerate(self._late_rows)}

    def search(
        self, query: str, vector: NDArray[np.float32], weights: Weights, count: int
    ) -> list[tuple[int, float, float, float]]:
        """(row, fused score, cosine, BM25) of the best candidates of either kind."""
        terms = tokenise(query)
        frequencies = inverse_frequencies(terms, (self._base, self._late))
        base, late = self._base.scores(terms, frequencies), self._late.scores(terms, frequencies)
        cosine = dict(self.vectors.search(vector, count))
        bm25: dict[int, float] = {}
        best = 0.0
        for scores, numbers in ((base, self._base_rows), (late, self._late_rows)):
            for position in _largest(scores, count):
                if scores[position] > 0 and numbers[position] in self._members:
                    bm25[numbers[position]] = float(scores[position])
                    best = max(best, float(scores[position]))
        for row in cosine.keys() - bm25.keys():
            place, is_late = self._place[row]
            bm25[row] = float(late[place] if is_late else base[place])
        rows = list(bm25)
        cosines = np.array([cosine[row] if row in cosine else self.vectors.cosine(vector, row) for row in rows])
        values = np.array([bm25[row] for row in rows])
        fused = weights.fuse(cosines, values, best)
        order = np.argsort(-fused, kind="stable")[:count]
        return [(rows[i], float(fused[i]), float(cosines[i]), float(values[i])) for i in order]


def _largest(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Positions of the `count` largest scores, in no order."""
    if len(scores) <= count:
        return np.arange(len(scores))
    return np.asarray(np.argpartition(-scores, count)[:count], np.int64)


def passage_text(row: Mapping[str, Any]) -> str:
    """What is embedded: the passage under its title and section, which often name what the passage leaves unsaid."""
    head = " - ".join(part for part in (row["title"], row["section"]) if part)
    return f"{head}\n{row['text']}" if head else str(row["text"])


def _lexical_text(chunk: Chunk) -> str:
    return f"{chunk.title} {chunk.section} {chunk.text}"


def content_hash(document: Document) -> str:
    """Changes with anything that a search result shows of the document."""
    return hashlib.sha256(json.dumps(asdict(document), sort_keys=True).encode()).hexdigest()
