"""Tuning a bi-encoder: it learns, mines negatives that are not answers, and exports an encoder that serves."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from headwater.bundles import open_bundle
from headwater.data import PairExample, read_pairs
from headwater.errors import HeadwaterError
from headwater.models import BaseModel
from headwater.serving import load_encoder
from headwater.settings import Settings
from headwater.tuning.bi_encoder import split_by_query, tune_bi_encoder
from headwater.tuning.config import BiEncoderConfig
from headwater.tuning.ranking import RankingTask


def config_for(base: BaseModel, pairs: Path, output: Path, **changes: object) -> BiEncoderConfig:
    values = {"train": str(pairs), "base": str(base.path), "output": str(output), "epochs": 6, "batch_size": 16}
    return BiEncoderConfig(**{**values, "precision": "fp32", "learning_rate": 3e-3, "threads": 1, **changes})


@pytest.mark.parametrize("changes", [{}, {"method": "lora", "symmetric": True, "mine_negatives": 2}])
def test_tuning_finds_answers_that_the_base_model_does_not(
    changes: dict[str, object], tiny_base: BaseModel, pairs: Path, tmp_path: Path, settings: Settings
) -> None:
    run = tune_bi_encoder(config_for(tiny_base, pairs, tmp_path / "run", **changes), settings=settings)

    scores = run.metrics["validation"]
    assert scores["ndcg@10"]["value"] > scores["base"]["ndcg@10"] + 0.1
    encoder = load_encoder(open_bundle(tmp_path / "run" / "bundle"))
    query, right, wrong = encoder.encode(
        ["tent question 7", "All about the tent: b.", "All about the card: c."], "plain"
    )
    assert query @ right > query @ wrong
    assert "base model" in (tmp_path / "run" / "report.md").read_text()


def test_negatives_of_the_file_are_pushed_away(tiny_base: BaseModel, tmp_path: Path, settings: Settings) -> None:
    """One passage, a list of them, or none: those that share a query's word and do not answer it."""
    words = "tent stove zip boots jacket pole card refund".split()
    path = tmp_path / "pairs.jsonl"
    rows = [
        {
            "query": f"{word} question {number}",
            "positive": f"All about the {word}, part {number}.",
            "wrong": [f"The {word} is sold out.", [f"The {word} is sold out.", f"No {word} here."], ""][number % 3],
        }
        for number in range(9)
        for word in words
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def margin(**changes: object) -> float:
        run = tune_bi_encoder(
            config_for(tiny_base, path, tmp_path / f"run{len(changes)}", epochs=3, **changes), settings=settings
        )
        encoder = load_encoder(run.bundle)
        queries = encoder.encode([f"{word} question 99" for word in words])
        right, wrong = (encoder.encode([text.format(word) for word in words]) for text in texts)
        return float(((queries * right).sum(1) - (queries * wrong).sum(1)).mean())

    texts = ("All about the {}, part 99.", "The {} is sold out.")
    assert margin(negative_column="wrong") > margin() + 0.1


def test_mined_negatives_never_answer_their_query(
    tiny_base: BaseModel, pairs: Path, tmp_path: Path, settings: Settings
) -> None:
    examples = read_pairs(pairs).examples
    task = RankingTask(tiny_base, config_for(tiny_base, pairs, tmp_path, mine_negatives=3), examples, examples[:8])

    assert all(len(pair.negatives) <= 3 for pair in task.pairs)
    assert any(pair.negatives for pair in task.pairs)
    assert all(pair.positive not in pair.negatives for pair in task.pairs)


def test_equal_passages_in_a_batch_are_not_each_others_negatives(
    tiny_base: BaseModel, pairs: Path, tmp_path: Path, settings: Settings
) -> None:
    twins = [PairExample("first question", "the same passage"), PairExample("second question", "the same passage")]
    rest = [PairExample(f"question {n}", f"passage number {n}") for n in range(8)]
    task = RankingTask(tiny_base, config_for(tiny_base, pairs, tmp_path), [*twins, *rest], rest[:2])
    task.encoder.eval()

    both, one = task.loss([0, 1, 2]), task.loss([0, 2])

    assert torch.allclose(both, one)


def test_all_pairs_of_a_query_stay_on_one_side() -> None:
    pairs = [PairExample(f"q{n % 10}", f"p{n}") for n in range(40)]

    rest, part = split_by_query(pairs, 0.2, seed=1)

    assert len(rest) + len(part) == 40
    assert not {p.query for p in rest} & {p.query for p in part}
    assert len({p.query for p in part}) == 2


def test_a_group_of_pairs_stands_on_one_side(tiny_base: BaseModel, tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "grouped.csv"
    rows = [f"question {n},passage {n},{'odd' if n % 2 else f'page {n}'}" for n in range(20)]
    path.write_text("\n".join(["query,positive,page", *rows]) + "\n")
    said: list[str] = []

    config = config_for(tiny_base, path, tmp_path / "run", group_column="page", validation_share=0.6, epochs=1)
    run = tune_bi_encoder(config, settings=settings, say=said.append)

    sizes = json.loads((run.folder / "report.json").read_text())["data"]
    assert (sizes["train"], sizes["valid"]) in ((4, 16), (13, 7))  # seven of eleven groups; ten odd pairs are one


def test_pairs_of_one_query_cannot_be_split() -> None:
    with pytest.raises(HeadwaterError, match=r"all 9 pairs have one query.*--valid"):
        split_by_query([PairExample("q", f"p{n}") for n in range(9)], 0.1, 0)


def test_too_few_pairs_are_refused(tiny_base: BaseModel, tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "few.csv"
    path.write_text("query,positive\na,b\nc,b\n")

    with pytest.raises(HeadwaterError, match="at least 8 pairs"):
        tune_bi_encoder(config_for(tiny_base, path, tmp_path / "run"), settings=settings)


def test_scores_of_a_search_are_those_of_its_ranking(
    tiny_base: BaseModel, pairs: Path, tmp_path: Path, settings: Settings
) -> None:
    examples = read_pairs(pairs).examples
    task = RankingTask(tiny_base, config_for(tiny_base, pairs, tmp_path), examples[:60], examples[60:80])
    search = task.search(examples[60:64])

    similar = task.embed(search.queries) @ task.embed(search.passages).T
    ranks = [
        int((row > row[next(iter(relevant))]).sum()) for row, relevant in zip(similar, search.relevant, strict=True)
    ]

    expected = [1 / (rank + 1) if rank < 10 else 0.0 for rank in ranks]
    assert np.allclose(task.score(search)["mrr@10"], expected)
