"""The bi-encoder task: queries and passages in one vector space, by contrast with other passages.

The loss is InfoNCE with in-batch negatives (van den Oord et al. 2018, arXiv 1807.03748), as sentence-transformers
implements it; hard negatives are mined as in NV-Retriever (arXiv 2407.15831): those nearly as close as the positive
are left out, since many of them answer the query too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headwater.data import PairExample
from headwater.evaluation import mrr_at_k, ndcg_at_k, recall_at_k
from headwater.models import BaseModel
from headwater.tuning.classification import Tokens, choose_length, pad, run_model, tokenise
from headwater.tuning.config import BiEncoderConfig
from headwater.tuning.encoding import SentenceEncoder, load_backbone
from headwater.tuning.methods.lora import add_adapters
from headwater.tuning.training import Task

# A mined passage counts as a negative only below this share of the positive's cosine.
_POSITIVE_SHARE = 0.95
# Passages that validation queries search among: their own and others up to this many.
_MOST_PASSAGES = 5_000
_QUERIES_AT_ONCE = 512


@dataclass(frozen=True)
class Search:
    """Queries, the passages they search among, and the row numbers of those that answer each query."""

    queries: Tokens
    passages: Tokens
    relevant: list[set[int]]


class RankingTask:
    """A bi-encoder with its training and validation pairs, in the form that the loop takes."""

    def __init__(
        self, base: BaseModel, config: BiEncoderConfig, train: Sequence[PairExample], valid: Sequence[PairExample]
    ) -> None:
        from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

        torch.manual_seed(config.seed)
        self.base, self.config = base, config
        self.encoder = self._build()
        texts = [e.positive for e in train]
        self.max_length = choose_length(base, texts, config, base.passage_prefix)
        self.background = list(dict.fromkeys(texts))
        self.valid = self.search(valid)
        self.pairs = self._with_mined(list(train)) if config.mine_negatives else list(train)
        self.query_ids = self._tokens([e.query for e in self.pairs], base.query_prefix).ids
        positives = self._tokens([e.positive for e in self.pairs], base.passage_prefix)
        self.positive_ids, self.cut = positives.ids, positives.cut
        self.negative_ids = [self._tokens(e.negatives, base.passage_prefix).ids for e in self.pairs]
        directions: Any = ("query_to_doc", "doc_to_query") if config.symmetric else ("query_to_doc",)
        mode: Any = "per_direction" if config.symmetric else "joint"
        library: Any = MultipleNegativesRankingLoss
        self._contrast = library(self.encoder, 1 / config.temperature, directions=directions, partition_mode=mode)

    def _build(self) -> SentenceEncoder:
        backbone = load_backbone(self.base)
        if self.config.method == "lora":
            backbone = add_adapters(backbone, self.config)
        elif not self.config.tune_embeddings:
            backbone.embeddings.word_embeddings.requires_grad_(False)
        return SentenceEncoder(backbone, self.base.pooling)

    def _tokens(self, texts: Sequence[str], prefix: str) -> Tokens:
        return tokenise(self.base, texts, self.max_length, prefix) if texts else Tokens([], 0)

    def task(self) -> Task:
        lengths = [
            len(query) + len(positive) + sum(len(ids) for ids in negatives)
            for query, positive, negatives in zip(self.query_ids, self.positive_ids, self.negative_ids, strict=True)
        ]
        return Task(self.encoder, lengths, self.loss, lambda: float(np.mean(self.score(self.valid)["ndcg@10"])))

    def loss(self, rows: list[int]) -> Tensor:
        """Mean contrast of these pairs.

        A passage or query that occurs twice in a batch would be its own negative: its second pair sits out this batch.
        """
        seen: set[str] = set()
        kept = []
        for row in rows:
            texts = {f"q:{self.pairs[row].query}", f"p:{self.pairs[row].positive}"}
            if not texts & seen:
                kept.append(row)
                seen |= texts
        negatives = [
            ids
            for row in kept
            for text, ids in zip(self.pairs[row].negatives, self.negative_ids[row], strict=True)
            if f"p:{text}" not in seen
        ]
        queries = self.encoder(*pad([self.query_ids[row] for row in kept]))
        passages = self.encoder(*pad([*[self.positive_ids[row] for row in kept], *negatives]))
        parts = [queries, passages[: len(kept)], *([passages[len(kept) :]] if negatives else [])]
        loss: Tensor = self._contrast.compute_loss_from_embeddings(parts, None)
        return loss

    def search(self, pairs: Sequence[PairExample]) -> Search:
        """The pairs' queries against their passages and, up to _MOST_PASSAGES, those of training."""
        relevant: dict[str, set[str]] = {}
        for pair in pairs:
            relevant.setdefault(pair.query, set()).add(pair.positive)
        own = dict.fromkeys(pair.positive for pair in pairs)
        texts = list(dict.fromkeys([*own, *self.background]))[: max(len(own), _MOST_PASSAGES)]
        place = {text: number for number, text in enumerate(texts)}
        return Search(
            self._tokens(list(relevant), self.base.query_prefix),
            self._tokens(texts, self.base.passage_prefix),
            [{place[text] for text in positives} for positives in relevant.values()],
        )

    def embed(self, tokens: Tokens) -> NDArray[np.float32]:
        """Unit vectors [texts, width]."""
        return run_model(self.encoder, tokens.ids, self.encoder.width, self.config.precision)

    def score(self, search: Search) -> dict[str, NDArray[np.float64]]:
        """nDCG@10, MRR@10 and recall@5 of each query."""
        passages = self.embed(search.passages)
        queries = self.embed(search.queries)
        scores: dict[str, list[float]] = {"ndcg@10": [], "mrr@10": [], "recall@5": []}
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            for row, similar in enumerate(queries[start : start + _QUERIES_AT_ONCE] @ passages.T, start):
                ranked = [str(number) for number in np.argsort(-similar, kind="stable")[:10]]
                relevant = {str(number) for number in search.relevant[row]}
                scores["ndcg@10"].append(ndcg_at_k(ranked, relevant, 10))
                scores["mrr@10"].append(mrr_at_k(ranked, relevant, 10))
                scores["recall@5"].append(recall_at_k(ranked, relevant, 5))
        return {name: np.array(values) for name, values in scores.items()}

    def _with_mined(self, pairs: list[PairExample]) -> list[PairExample]:
        """Each pair with the closest passages that are not its own, found by the encoder before training."""
        answers: dict[str, set[str]] = {}
        for pair in pairs:
            answers.setdefault(pair.query, set()).add(pair.positive)
        texts = self.background
        vectors = self.embed(self._tokens(texts, self.base.passage_prefix))
        place = {text: number for number, text in enumerate(texts)}
        queries = self.embed(self._tokens([pair.query for pair in pairs], self.base.query_prefix))
        mined = []
        for pair, query in zip(pairs, queries, strict=True):
            similar = vectors @ query
            limit = _POSITIVE_SHARE * similar[place[pair.positive]]
            order = np.argsort(-similar)
            found = (texts[n] for n in order if similar[n] < limit and texts[n] not in answers[pair.query])
            chosen = [text for text, _ in zip(found, range(self.config.mine_negatives), strict=False)]
            mined.append(replace(pair, negatives=(*pair.negatives, *chosen)))
        return mined
