"""Property of the index: after any add, update, delete, reload, promotion of an encoder or kill -9, never a stale and
never a lost hit, and never a question compared with vectors of another encoder.

A writer process makes each change; now and then it is killed at a random moment, and started again. A reader in this
process checks after every step against a plain dictionary. `python tests/soak/index.py` runs the full size and keeps
docs/results/soak-index.json.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.retrieval import Delete, Document, Index, Upsert, Weights
from headwater.retrieval.lexical import tokenise
from headwater.retrieval.tables import metadata
from headwater.settings import Settings
from headwater.storage.engine import open_engine

FULL = 10_000
REEMBED = "*reembed*"
_WORDS = "tent stove boot lamp rope map axe sock 帐篷 登山鞋 炉子 地图 绳子 refund 退款 parcel 配送".split()


class TermEmbedder:
    """Deterministic: hashed terms as a unit vector, in a space of its name's own."""

    dimension = 48

    def __init__(self, name: str) -> None:
        self.id = name

    def encode(self, texts: Sequence[str], kind: str = "plain") -> NDArray[np.float32]:
        rows = np.full((len(texts), self.dimension), 1e-3, np.float32)
        for number, text in enumerate(texts):
            for term in tokenise(text):
                rows[number, int(hashlib.md5(f"{self.id} {term}".encode()).hexdigest(), 16) % self.dimension] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Versions:
    """Two embedders; the one in production is named by a file, for all processes."""

    def __init__(self, home: Path) -> None:
        self._file = home / "production"
        self._embedders = {name: TermEmbedder(name) for name in ("even", "odd")}

    def current_id(self) -> str:
        return self._file.read_text() if self._file.exists() else "even"

    def get(self, embedder_id: str) -> TermEmbedder:
        return self._embedders[embedder_id]

    def promote(self) -> None:
        self._file.write_text("odd" if self.current_id() == "even" else "even")


def open_index(home: Path) -> Index:
    engine = open_engine(Settings(home=home), "support")
    metadata.create_all(engine)
    # Ranked by words alone: a text's mark is a word of its own, so its document must come first.
    return Index(engine, "shop", {"*": Versions(home)}, {"*": Weights(1.0)})


def write(home: Path) -> None:
    """The writer process: one change a line of standard input, one line of output when it is committed."""
    index = open_index(home)
    for line in sys.stdin:
        name, text = json.loads(line)
        if name == REEMBED:
            index.reembed()
        else:
            index.apply([Upsert(Document(name, text)) if text else Delete(name)], actor="soak")
        print("done", flush=True)


class Writer:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.process: subprocess.Popen[str] | None = None

    def apply(self, name: str, text: str, kill_after: float | None) -> bool:
        """Make a change; True when it was acknowledged, False when the writer was killed before."""
        if self.process is None:
            command = [sys.executable, __file__, "--write", str(self.home)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
            self._send("warm", "warm up")
        assert self.process.stdin and self.process.stdout
        if kill_after is None:
            return self._send(name, text)
        self.process.stdin.write(json.dumps([name, text]) + "\n")
        self.process.stdin.flush()
        time.sleep(kill_after)
        self.stop()
        return False

    def _send(self, name: str, text: str) -> bool:
        assert self.process and self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps([name, text]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer == "done\n", f"the writer answered {answer!r} to {name}"
        return True

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def run(steps: int, seed: int, home: Path) -> dict[str, Any]:
    """Random steps; raises AssertionError naming the step at the first stale or lost hit."""
    generator = random.Random(seed)
    counts = {"add": 0, "update": 0, "delete": 0, "reload": 0, "promote": 0, "reembed": 0}
    counts |= {"kill": 0, "kill before commit": 0}
    truth: dict[str, str] = {}
    dead: list[str] = []
    serial = 0
    writer, reader = Writer(home), open_index(home)
    try:
        for step in range(steps):
            action = generator.choices(("add", "update", "delete", "reload"), (40, 25, 25, 10))[0]
            if generator.random() < 0.03:
                action = generator.choice(("promote", "reembed"))
            if action == "reload":
                reader = open_index(home)
            elif action in ("promote", "reembed"):
                counts["kill"] += _change_encoder(action, Versions(home), writer, generator)
            elif action == "add" or not truth:
                action, serial = "add", serial + 1
            name = f"d{serial}" if action == "add" else generator.choice(sorted(truth)) if truth else ""
            if action in ("add", "update", "delete"):
                serial += action == "update"
                text = "" if action == "delete" else _text(generator, f"u{serial}x{step}")
                kill_after = generator.uniform(0.0, 0.004) if generator.random() < 0.02 else None
                before = truth.get(name)
                if not writer.apply(name, text, kill_after):
                    counts["kill"] += 1
                    found = _stored(open_index(home), name)
                    assert found in (before, text or None), f"step {step}: {name} is neither old nor new: {found!r}"
                    if found == before:
                        counts["kill before commit"] += 1
                        text = before or ""
                if text != (before or ""):
                    dead += [_mark(before)] if before else []
                    truth = {key: value for key, value in truth.items() if key != name} | ({name: text} if text else {})
            counts[action] += 1
            _check(reader, truth, dead, generator, step)
    finally:
        writer.stop()
    return counts


def _change_encoder(action: str, versions: Versions, writer: Writer, generator: random.Random) -> bool:
    """Promote the other encoder, or embed anew; whether the writer was killed doing so, which must change nothing."""
    if action == "promote":
        versions.promote()
        return False
    return not writer.apply(REEMBED, "", generator.uniform(0.0, 0.02) if generator.random() < 0.3 else None)


def _text(generator: random.Random, mark: str) -> str:
    words = generator.choices(_WORDS, k=generator.randint(3, 40))
    return f"{mark} " + " ".join(words) + "。"


def _mark(text: str) -> str:
    return text.split(" ", 1)[0]


def _stored(index: Index, name: str) -> str | None:
    return index.document(name).text if any(d["id"] == name for d in index.documents(name)) else None


def _check(reader: Index, truth: dict[str, str], dead: list[str], generator: random.Random, step: int) -> None:
    if truth:
        name = generator.choice(sorted(truth))
        found = reader.look_up(_mark(truth[name]), 1, "en")
        assert any(h.chunk.document_id == name for h in found.hits), f"step {step}: {name} is lost"
        question, passage = found.embedder.encode([_mark(truth[name]), truth[name]])
        cosine = float(question @ passage)
        assert abs(found.hits[0].cosine - cosine) < 2e-3, f"step {step}: {name} has a vector of another encoder"
    if dead:
        mark = generator.choice(dead[-50:])
        stale = [hit for hit in reader.search(mark, 10) if mark in hit.chunk.text.split()]
        assert not stale, f"step {step}: {mark} is stale: {stale[0].chunk.document_id}"
    assert len(reader) == len(reader._groups["*"].vectors), f"step {step}: vectors and rows differ"
    live = set(truth) | {"warm"}
    strange = {chunk.document_id for chunk in reader._rows.values()} - live
    assert not strange, f"step {step}: deleted documents are still searched: {sorted(strange)[:3]}"
    missing = set(truth) - {chunk.document_id for chunk in reader._rows.values()}
    assert not missing, f"step {step}: documents are not searched: {sorted(missing)[:3]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=FULL)
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write(arguments.write)
        return
    started = time.time()
    with tempfile.TemporaryDirectory() as home:
        counts = run(arguments.steps, arguments.seed, Path(home))
    result = {"steps": arguments.steps, "seed": arguments.seed, "outcome": "no stale and no lost hit", "counts": counts}
    result["seconds"] = round(time.time() - started, 1)
    print(json.dumps(result, indent=1))
    if arguments.steps >= FULL:
        path = Path(__file__).resolve().parents[2] / "docs" / "results" / "soak-index.json"
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
