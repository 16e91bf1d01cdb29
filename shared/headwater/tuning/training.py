"""The training loop: length-grouped batches, bf16 autocast, fused AdamW, checkpoints that resume bit for bit."""

import math
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from headwater.errors import HeadwaterError
from headwater.progress import Progress, Step
from headwater.tuning.checkpoints import Checkpoint, load_checkpoint, save_checkpoint, save_weights, trainable
from headwater.tuning.config import TuneConfig

# Batches are cut from pools of this many batches, each sorted by length: padding nearly vanishes, order stays random.
_POOL = 32
_PROBE_STEPS = 3


@dataclass(frozen=True)
class Task:
    """What the loop needs of a task.

    `loss(rows)` is the mean loss of these examples (row numbers); `lengths` their token counts; `evaluate()` the
    validation metric (larger is better); `head` the parameters with a learning rate of their own.
    """

    model: nn.Module
    lengths: Sequence[int]
    loss: Callable[[list[int]], Tensor]
    evaluate: Callable[[], float]
    head: Sequence[nn.Parameter] = ()
    head_rate: float = 1.0


@dataclass(frozen=True)
class Cost:
    """What a run will take, measured on a few steps before it starts."""

    examples: int
    tokens: int
    steps: int
    minutes: float
    memory_mb: int

    def __str__(self) -> str:
        duration = f"about {self.minutes:.1f} minutes" if self.minutes >= 1 else "under a minute"
        return (
            f"{self.examples} examples, {self.tokens} tokens an epoch, {self.steps} steps, "
            f"{duration}, {self.memory_mb} MB of memory"
        )


@dataclass
class Outcome:
    """The curve of a run: the validation metric of each epoch, the mean loss, the best epoch (from 1)."""

    metrics: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    best_epoch: int = 0
    steps: int = 0
    seconds: float = 0.0
    resumed_at: int = 0


def plan_batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Row numbers by batch: shuffled, then grouped by length within pools, then the batches shuffled."""
    generator = random.Random(f"{seed}:{epoch}")
    order = list(range(len(lengths)))
    generator.shuffle(order)
    batches = []
    for start in range(0, len(order), _POOL * batch_size):
        pool = sorted(order[start : start + _POOL * batch_size], key=lambda row: lengths[row])
        batches += [pool[at : at + batch_size] for at in range(0, len(pool), batch_size)]
    generator.shuffle(batches)
    return batches


def autocast(precision: str) -> Any:
    """bf16 autocast when asked for, or with "auto" when the processor multiplies bf16 itself."""
    enabled = precision == "bf16" or (precision == "auto" and has_bf16())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.autocast(device, torch.bfloat16, enabled=enabled)


def has_bf16() -> bool:
    """Whether this processor (or GPU) has bf16 products."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})


def estimate_cost(task: Task, config: TuneConfig) -> Cost:
    """Time a few steps without changing weights or random state."""
    import psutil

    state = torch.get_rng_state()
    batches = plan_batches(task.lengths, config.batch_size, config.seed, 0)
    sample = batches[: _PROBE_STEPS + 1]
    tokens = [sum(task.lengths[row] for row in batch) for batch in batches]
    task.model.train()
    seconds = []
    for batch in sample:
        started = time.perf_counter()
        with autocast(config.precision):
            loss = task.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        seconds.append(time.perf_counter() - started)
    task.model.zero_grad(set_to_none=True)
    torch.set_rng_state(state)
    timed = slice(1, None) if len(sample) > 1 else slice(None)  # the first step also allocates
    rate = sum(seconds[timed]) / max(1, sum(tokens[: len(sample)][timed]))
    weights = sum(p.numel() for p in task.model.parameters() if p.requires_grad)
    memory = psutil.Process().memory_info().rss + 12 * weights  # gradients and two moments, float32
    minutes = rate * sum(tokens) * config.epochs * 1.15 / 60  # 15 %: optimiser and validation
    return Cost(len(task.lengths), sum(tokens), len(batches) * config.epochs, minutes, memory // 2**20)


def train(task: Task, config: TuneConfig, folder: Path, progress: Progress) -> Outcome:
    """Train `task.model` in place and leave it with its best weights; resumes from `folder`/checkpoints.

    Deterministic by seed on one CPU process. ctrl-C and SIGTERM end after the present step with a checkpoint, as
    KeyboardInterrupt.
    """
    run = _Run(task, config, folder)
    with _interruption() as stop:
        for epoch in range(run.start.epoch, config.epochs):
            if run.is_over(epoch):
                break
            run.epoch(epoch, progress, stop)
    run.restore_best()
    return run.outcome


class _Run:
    def __init__(self, task: Task, config: TuneConfig, folder: Path) -> None:
        self.task, self.config, self.folder = task, config, folder / "checkpoints"
        self.steps_an_epoch = math.ceil(len(task.lengths) / config.batch_size)
        self.updates = math.ceil(self.steps_an_epoch / config.accumulation) * config.epochs
        self.optimiser = _optimiser(task, config)
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        self.start = load_checkpoint(self.folder, task.model, self.optimiser) or Checkpoint()
        self.outcome = Outcome(
            self.start.metrics,
            self.start.losses,
            self.start.best_epoch,
            self.start.step,
            self.start.seconds,
            resumed_at=self.start.step,
        )
        self.update = self.start.update
        self.saved = time.monotonic()
        self.began = time.monotonic()

    def epoch(self, epoch: int, progress: Progress, stop: threading.Event) -> None:
        batches = plan_batches(self.task.lengths, self.config.batch_size, self.config.seed, epoch)
        resumed = epoch == self.start.epoch
        done = self.start.batch if resumed else 0
        total = self.start.loss_sum if resumed else 0.0
        self.task.model.train()
        for number in range(done, len(batches)):
            total += self._step(batches, number)
            step = epoch * self.steps_an_epoch + number + 1
            self.outcome.steps = step
            progress(Step(step, self.steps_an_epoch * self.config.epochs, self._message(epoch, total / (number + 1))))
            at_update = self._updates_at(number, len(batches))
            due = time.monotonic() - self.saved > self.config.checkpoint_minutes * 60
            if at_update and (stop.is_set() or due) and number + 1 < len(batches):
                self._save(epoch, number + 1, step, total)
                if stop.is_set():
                    raise KeyboardInterrupt
        self.outcome.losses.append(total / max(1, len(batches)))
        metric = self.task.evaluate()
        self.outcome.metrics.append(metric)
        if metric > max(self.outcome.metrics[:-1], default=-math.inf):
            self.outcome.best_epoch = epoch + 1
            save_weights(self.folder / "best.safetensors", self.task.model)
        self._save(epoch + 1, 0, self.outcome.steps, 0.0)
        if stop.is_set():
            raise KeyboardInterrupt

    def _step(self, batches: list[list[int]], number: int) -> float:
        accumulation = self.config.accumulation
        first = number - number % accumulation
        group = batches[first : first + accumulation]
        share = len(batches[number]) / sum(len(batch) for batch in group)
        with autocast(self.config.precision):
            loss = self.task.loss(batches[number])
        value = float(loss.detach())
        if not math.isfinite(value):
            raise HeadwaterError(f"the loss became {value} in step {self.outcome.steps + 1}; lower --learning-rate")
        # Weighted by examples, so that 4 x 4 gives the gradient of 16 also when the last batch is short.
        (loss * share).backward()  # type: ignore[no-untyped-call]
        if self._updates_at(number, len(batches)):
            factor = self._schedule(self.update)
            for group_, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
                group_["lr"] = rate * factor
            torch.nn.utils.clip_grad_norm_(trainable(self.task.model).values(), 1.0)
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
            self.update += 1
        return value

    def _updates_at(self, number: int, batches: int) -> bool:
        return (number + 1) % self.config.accumulation == 0 or number + 1 == batches

    def _schedule(self, update: int) -> float:
        """Linear rise, linear fall to zero."""
        rise = max(1, round(self.config.warmup * self.updates))
        if update < rise:
            return (update + 1) / rise
        return max(0.0, (self.updates - update) / max(1, self.updates - rise))

    def _message(self, epoch: int, loss: float) -> str:
        best = f", best {max(self.outcome.metrics):.4f}" if self.outcome.metrics else ""
        return f"epoch {epoch + 1}/{self.config.epochs}, loss {loss:.3f}{best}"

    def _save(self, epoch: int, batch: int, step: int, loss_sum: float) -> None:
        outcome = self.outcome
        outcome.seconds += time.monotonic() - self.began
        self.began = time.monotonic()
        state = Checkpoint(
            epoch,
            batch,
            step,
            self.update,
            loss_sum,
            outcome.best_epoch,
            outcome.metrics,
            outcome.losses,
            outcome.seconds,
        )
        save_checkpoint(self.folder, state, self.task.model, self.optimiser)
        self.saved = time.monotonic()

    def is_over(self, epochs: int) -> bool:
        """Whether patience is at its end after so many epochs; also of a run that was interrupted then."""
        return 0 < self.config.patience <= epochs - self.outcome.best_epoch

    def restore_best(self) -> None:
        from headwater.tuning.checkpoints import load_weights

        if self.outcome.best_epoch:
            load_weights(self.folder / "best.safetensors", self.task.model)
        self.task.model.eval()


def _optimiser(task: Task, config: TuneConfig) -> torch.optim.Optimizer:
    head = {id(parameter) for parameter in task.head}
    body = [p for p in trainable(task.model).values() if id(p) not in head]
    groups = [
        {"params": [p for p in body if p.ndim > 1], "lr": config.rate, "weight_decay": config.weight_decay},
        {"params": [p for p in body if p.ndim <= 1], "lr": config.rate, "weight_decay": 0.0},
        {"params": [p for p in task.head if p.requires_grad], "lr": config.rate * task.head_rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], fused=True)


class _interruption:
    """Turns SIGINT and SIGTERM into an event while training runs in the main thread."""

    def __enter__(self) -> threading.Event:
        self.event = threading.Event()
        self.previous: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.previous[number] = signal.signal(number, self._note)
        return self.event

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.event.set()

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
