"""Tune a bi-encoder: pairs → checks → training → scores beside the base model's → bundle → report."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from headwater.data import PairExample, RowProblem, fingerprint, read_pairs, split_grouped
from headwater.errors import HeadwaterError
from headwater.evaluation import accuracy_interval
from headwater.progress import Progress, silent
from headwater.settings import Settings, load_settings
from headwater.tuning.bases import choose_base
from headwater.tuning.config import BiEncoderConfig, resolved, validation_share
from headwater.tuning.export.encoder import export_encoder
from headwater.tuning.methods.lora import merged
from headwater.tuning.ranking import RankingTask, Search
from headwater.tuning.report.ranking import write_report
from headwater.tuning.runs import Run, finish_run, open_run_folder, say_problems
from headwater.tuning.training import estimate_cost, train

_FEWEST_PAIRS = 8


def tune_bi_encoder(
    config: BiEncoderConfig,
    progress: Progress = silent,
    *,
    settings: Settings | None = None,
    say: Any = lambda line: None,
) -> Run:
    """Tune an encoder for search on the files that the configuration names; export it as an encoder bundle.

    The run folder must be new, or hold an interrupted run with the same configuration and data, which is resumed.
    Raises HeadwaterError for what cannot be trained on, KeyboardInterrupt (with a checkpoint) on ctrl-C.
    """
    settings = settings or load_settings()
    torch.set_num_threads(config.threads or settings.threads or torch.get_num_threads())
    problems: list[RowProblem] = []
    pairs = _read(config, config.train, problems, config.group_column)
    valid, test = (_read(config, path, problems) for path in (config.valid, config.test))
    pairs = _checked(pairs, problems, say)
    if not valid:
        split = split_grouped if config.group_column else split_by_query
        pairs, valid = split(pairs, validation_share(config), config.seed)
        say(f"no validation file: {len(valid)} training pairs are kept apart for validation")
    name, base = choose_base(config.base, [pair.positive for pair in pairs], settings, say)
    config = replace(config, base=name)
    folder = open_run_folder(config, fingerprint(pairs))
    task = RankingTask(base, config, pairs, valid)
    say(f"longest passage {task.max_length} tokens; {task.cut} passages are cut off")
    searches = {"validation": task.valid} | ({"test": task.search(test)} if test else {})
    before = {part: _means(task.score(search)) for part, search in searches.items()}
    cost = estimate_cost(task.task(), config)
    say(f"cost: {cost}")
    outcome = train(task.task(), config, folder, progress)
    if outcome.resumed_at:
        say(f"went on from step {outcome.resumed_at}")
    start = before["validation"]["ndcg@10"]
    say(f"best epoch {outcome.best_epoch}: ndcg@10 {max(outcome.metrics):.4f} on validation, base model {start:.4f}")
    if config.method == "lora":
        task.encoder.backbone = merged(task.encoder.backbone)
    metrics = {part: _scores(task, search, before[part]) for part, search in searches.items()}
    curve = {
        "loss": outcome.losses,
        "metric": outcome.metrics,
        "best_epoch": outcome.best_epoch,
        "seconds": outcome.seconds,
        "steps": outcome.steps,
    }
    fields = {
        "metrics": metrics,
        "data_fingerprint": fingerprint(pairs),
        "config": resolved(config),
        "sources": tuple(Path(p).name for p in (config.train, config.valid, config.test) if p),
    }
    content: dict[str, Any] = {
        "metrics": metrics,
        "curve": curve,
        "data": {
            "train": len(pairs),
            "valid": len(valid),
            "test": len(test),
            "unused_rows": len(problems),
            "problems": [str(problem) for problem in problems],
        },
        "cost": asdict(cost),
        "config": resolved(config),
    }
    write_report(folder, content)
    texts = _parity_texts(valid)
    bundle = export_encoder(
        base,
        folder / "bundle",
        encoder=task.encoder,
        fields=fields,
        texts=texts,
        with_weights=True,
        report=content,
    )
    content["quantisation"] = bundle.manifest.quantisation
    finish_run(folder, content)
    return Run(folder, bundle, metrics, curve)


def _read(
    config: BiEncoderConfig, path: str | None, problems: list[RowProblem], group_column: str | None = None
) -> list[PairExample]:
    if path is None:
        return []
    result = read_pairs(
        path,
        query_column=config.query_column,
        positive_column=config.positive_column,
        negative_column=config.negative_column,
        group_column=group_column,
    )
    problems.extend(result.problems)
    return result.examples


def _checked(pairs: list[PairExample], problems: Sequence[RowProblem], say: Any) -> list[PairExample]:
    """The distinct pairs; says what was left out. Raises HeadwaterError when too few passages differ."""
    say_problems(problems, say)
    counts = Counter((pair.query, pair.positive) for pair in pairs)
    distinct = {(pair.query, pair.positive): pair for pair in pairs}
    if len(counts) < len(pairs):
        say(f"{len(pairs) - len(counts)} pairs occur more than once and count once")
    passages = {pair.positive for pair in pairs}
    if len(distinct) < _FEWEST_PAIRS or len(passages) < 2:
        raise HeadwaterError(
            f"{len(distinct)} distinct pairs with {len(passages)} passages are too few to learn from; "
            f"give at least {_FEWEST_PAIRS} pairs with different passages"
        )
    say(f"{len(distinct)} pairs, {len({pair.query for pair in pairs})} queries, {len(passages)} passages")
    return list(distinct.values())


def split_by_query(
    pairs: Sequence[PairExample], fraction: float, seed: int
) -> tuple[list[PairExample], list[PairExample]]:
    """(rest, part); all pairs of a query stay together, and each side holds at least one query."""
    queries = sorted({pair.query for pair in pairs})
    if len(queries) < 2:
        raise HeadwaterError(f"all {len(pairs)} pairs have one query; name a validation file (--valid)")
    random.Random(seed).shuffle(queries)
    part = set(queries[: min(max(1, round(fraction * len(queries))), len(queries) - 1)])
    return [p for p in pairs if p.query not in part], [p for p in pairs if p.query in part]


def _means(scores: dict[str, NDArray[Any]]) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in scores.items()}


def _scores(task: RankingTask, search: Search, before: dict[str, float]) -> dict[str, Any]:
    found = {name: accuracy_interval(values).__dict__ for name, values in task.score(search).items()}
    return {**found, "base": before, "queries": len(search.queries.ids), "passages": len(search.passages.ids)}


def _parity_texts(pairs: Sequence[PairExample]) -> list[str]:
    """Real texts, long and short, on which the export is compared with torch."""
    from headwater.tuning.export.encoder import PARITY_TEXTS

    return [*PARITY_TEXTS, *[text for pair in pairs[:16] for text in (pair.query, pair.positive)]]
