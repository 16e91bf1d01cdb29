"""misreads: the project's own contrast pairs, of which both texts must be read right; by kind and language.

A pair is two wordings about one company, or one headline asked for each of two companies. Training pairs are of
another author, with other companies; no frame of these pairs occurs in them.
"""

import json
from collections import defaultdict

from harness import Benchmark, Row
from sentiment import best, starter

from finance_monitor.marking import mark_names
from finance_monitor.starter_texts import package_folder

LEAST_KIND = 0.75


def main() -> None:
    path = package_folder("starter") / "contrast.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    named: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        named[row["text"]] |= {row["target"], *row.get("others", ())}
    bench = Benchmark("misreads", f"{len(rows) // 2} pairs; a pair counts when both of its texts are read right")
    for language, group in (("en", "en"), ("zh", "*")):
        own = [row for row in rows if row["language"] == language]
        texts = [mark_names(r["text"], r["target"], sorted(named[r["text"]] - {r["target"]}), language) for r in own]
        said = best(starter("sentiment", group), texts)
        right: dict[tuple[str, str], list[bool]] = defaultdict(list)
        for row, label in zip(own, said, strict=True):
            right[row["kind"], row["pair"]].append(label == row["label"])
        kinds: dict[str, list[bool]] = defaultdict(list)
        for (kind, _), answers in right.items():
            kinds[kind].append(all(answers))
        every = [answer for answers in kinds.values() for answer in answers]
        bench.add(Row(f"pairs right, all {len(every)}", sum(every) / len(every), language=language, must=0.85))
        for kind, answers in sorted(kinds.items()):
            share = sum(answers) / len(answers)
            bench.add(Row(f"pairs right, {kind} ({len(answers)})", share, language=language, must=LEAST_KIND))
    bench.write()


if __name__ == "__main__":
    main()
