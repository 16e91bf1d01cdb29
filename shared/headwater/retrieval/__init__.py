"""Lexical and vector search over documents, fused; every change visible to the next query in every process."""

from headwater.retrieval.documents import Chunk, Document, Section, split_document
from headwater.retrieval.embedding import Embedder, Embedders
from headwater.retrieval.fusion import Weights, fit_weights
from headwater.retrieval.index import Delete, Found, Hit, Index, Reranker, Upsert
from headwater.retrieval.sentences import split_sentences

__all__ = [
    "Chunk",
    "Delete",
    "Document",
    "Embedder",
    "Embedders",
    "Found",
    "Hit",
    "Index",
    "Reranker",
    "Section",
    "Upsert",
    "Weights",
    "fit_weights",
    "split_document",
    "split_sentences",
]
