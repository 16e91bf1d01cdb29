"""docs-scifact: claim → abstract by the BEIR protocol; the weight is fitted on the training claims only."""

from harness import Benchmark
from retrieval_quality import HybridSet, KeptEncoder, add_rows, fit, limited

from headwater.data import TextExample, fingerprint
from headwater.data.public import scifact
from headwater.retrieval import Document, Weights


def main() -> None:
    data = scifact()
    bench = Benchmark(
        "docs-scifact",
        "BEIR: 300 validation claims over 5,183 titles and abstracts; weight fitted on the training claims (nDCG@10)",
        fingerprint(TextExample(text) for text in data.documents.values()),
    )
    documents = {}
    for key, text in data.documents.items():
        title, _, abstract = text.partition("\n")
        documents[key] = Document(key, abstract or title, title=title, language="en")
    hybrid = HybridSet(documents, KeptEncoder("minilm"))
    weights = fit(hybrid.candidates(limited(data.fit_queries, 100)), data.fit_relevant, "ndcg", 10)
    queries = limited(data.queries, 100)
    ranked = {
        "hybrid": hybrid.rankings(queries, weights),
        "vectors": hybrid.rankings(queries, Weights(0.0)),
        "BM25": hybrid.rankings(queries, Weights(1.0)),
    }
    measures = {("ndcg", 10): 0.70, ("recall", 5): None}
    add_rows(bench, ranked, data.relevant, measures, "en", f", minilm, weight {weights.lexical:g}")
    bench.write()


if __name__ == "__main__":
    main()
