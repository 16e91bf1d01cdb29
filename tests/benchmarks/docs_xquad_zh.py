"""docs-xquad-zh: a question finds its paragraph among all 240, in Chinese and in English.

Every third article is for fitting the weight, the others are reported; both languages use the multilingual encoder, as
an index that holds several languages does. English is shown with its own encoder too.
"""

from harness import Benchmark
from retrieval_quality import HybridSet, KeptEncoder, add_rows, fit, limited

from headwater.data import TextExample, fingerprint
from headwater.data.public import xquad
from headwater.retrieval import Document, Weights

_PARAGRAPHS_OF_FIVE_ARTICLES = 15
_FIT_PARAGRAPHS = 5


def for_fitting(paragraph: str) -> bool:
    """Whether a paragraph's questions belong to the fitting part: blocks of articles, so that no article is in both."""
    return int(paragraph) % _PARAGRAPHS_OF_FIVE_ARTICLES < _FIT_PARAGRAPHS


def main() -> None:
    sets = {language: xquad(language) for language in ("zh", "en")}
    bench = Benchmark(
        "docs-xquad-zh",
        "question -> paragraph among 240; weight fitted on every third article (recall@1), figures on the rest",
        fingerprint(TextExample(text) for data in sets.values() for text in data.documents.values()),
    )
    for base, language in (("multilingual", "zh"), ("multilingual", "en"), ("minilm", "en")):
        data = sets[language]
        documents = {key: Document(key, text, language=language) for key, text in data.documents.items()}
        hybrid = HybridSet(documents, KeptEncoder(base))
        queries = limited(data.queries, 200)
        part = {key: for_fitting(next(iter(data.relevant[key]))) for key in queries}
        found = hybrid.candidates(queries)
        weights = fit(found, data.relevant, "recall", 1, [key for key, chosen in part.items() if chosen])
        asked = {key: text for key, text in queries.items() if not part[key]}
        ranked = {
            "hybrid": hybrid.rankings(asked, weights),
            "vectors": hybrid.rankings(asked, Weights(0.0)),
            "BM25": hybrid.rankings(asked, Weights(1.0)),
        }
        bars = (0.93, 0.99) if base == "multilingual" else (None, None)
        measures = {("recall", 1): bars[0], ("recall", 5): bars[1]}
        add_rows(bench, ranked, data.relevant, measures, language, f", {base}, weight {weights.lexical:g}")
    bench.write()


if __name__ == "__main__":
    main()
