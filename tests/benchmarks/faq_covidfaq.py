"""faq-covidfaq: a user's question → the FAQ entry that answers it.

There is no training part, so the weight of each half of the entries is fitted on the questions of the other half.
"""

from harness import Benchmark
from retrieval_quality import HybridSet, KeptEncoder, add_rows, fit

from headwater.data import TextExample, fingerprint
from headwater.data.public import covidfaq
from headwater.retrieval import Document, Weights


def main() -> None:
    data = covidfaq()
    bench = Benchmark(
        "faq-covidfaq",
        "user question -> FAQ entry among all; weight cross-fitted over two halves of the entries (nDCG@10)",
        fingerprint(TextExample(text) for text in data.documents.values()),
    )
    documents = {}
    for key, text in data.documents.items():
        question, _, answer = text.partition("\n")
        documents[key] = Document(key, answer or question, title=question, language="en")
    hybrid = HybridSet(documents, KeptEncoder("minilm"))
    entries = sorted(documents)
    first = set(entries[::2])
    halves = [
        {key: text for key, text in data.queries.items() if (next(iter(data.relevant[key])) in first) == side}
        for side in (True, False)
    ]
    found = [hybrid.candidates(half) for half in halves]
    ranked: dict[str, dict[str, list[str]]] = {"hybrid": {}, "vectors": {}, "BM25": {}}
    used = []
    for own, other in ((0, 1), (1, 0)):
        weights = fit(found[other], data.relevant, "ndcg", 10)
        used.append(f"{weights.lexical:g}")
        ranked["hybrid"] |= hybrid.rankings(halves[own], weights)
        ranked["vectors"] |= hybrid.rankings(halves[own], Weights(0.0))
        ranked["BM25"] |= hybrid.rankings(halves[own], Weights(1.0))
    measures = {("ndcg", 10): None, ("recall", 5): None}
    add_rows(bench, ranked, data.relevant, measures, "en", f", minilm, weights {' and '.join(used)}")
    bench.write()


if __name__ == "__main__":
    main()
