"""The compact Unigram tokenizer gives the library's ids, for every text."""

import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from headwater.models import resolve_base
from headwater.serving.unigram import UnigramTokenizer, read_unigram
from headwater.settings import load_settings

pytestmark = pytest.mark.models
LENGTH = 24
ALPHABETS = (
    "abcde fghij",
    "的一是不了人我在有他这",
    "ЖзивАбв",
    "ابتثج",
    "กขคงจ",
    "\ue000\ue001ab ",
    "😀😃a ▁<s>",
    " \n\t_-.,!?0",
)
EDGES = (
    "",
    " ",
    "  \n a",
    "<s> a <mask>  b</s>  [MASK]",
    "<unk><pad>x",
    "ﬁ① \u3000全角ＡＢＣ",
    "▁▁ ▁a",
    "e\u0301 \u200b\u200d a",
    "a" * 3000,
    "\ue000\ue001\ue002 x\ue000",
)


@pytest.fixture(scope="module")
def path() -> Path:
    return resolve_base("multilingual", load_settings()).path / "tokenizer.json"


@pytest.fixture(scope="module")
def compact(path: Path) -> UnigramTokenizer:
    found = read_unigram(path, LENGTH)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def library(path: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(LENGTH)
    return tokenizer


def texts(library: Tokenizer) -> list[str]:
    """Edge cases, letters of one to three scripts mixed, and pieces of the vocabulary joined at random."""
    generator = random.Random(0)
    mixed = []
    for _ in range(4000):
        pool = "".join(generator.sample(ALPHABETS, generator.randint(1, 3)))
        mixed.append("".join(generator.choice(pool) for _ in range(generator.randint(1, 40))))
    pieces = sorted(library.get_vocab())
    joined = ["".join(generator.choices(pieces, k=generator.randint(1, 12))).replace("▁", " ") for _ in range(4000)]
    return [*EDGES, *mixed, *joined]


def test_ids_and_cuts_are_those_of_the_library(compact: UnigramTokenizer, library: Tokenizer) -> None:
    asked = texts(library)
    expected = [(e.ids, bool(e.overflowing)) for e in library.encode_batch(asked)]
    assert [(t.ids, t.overflowing) for t in compact.encode_batch(asked)] == expected
    assert sum(cut for _, cut in expected) > 100


def test_one_vocabulary_serves_several_lengths(compact: UnigramTokenizer, library: Tokenizer) -> None:
    text = "one two three four five six seven eight nine ten"
    whole = library.encode(text).ids
    assert compact.with_length(5).encode(text).ids == [*whole[:4], whole[-1]]
    assert compact.encode(text).ids == whole


def test_another_kind_of_vocabulary_is_left_to_the_library() -> None:
    assert read_unigram(resolve_base("minilm", load_settings()).path / "tokenizer.json", LENGTH) is None
