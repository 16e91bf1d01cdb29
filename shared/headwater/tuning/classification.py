"""Sequence classification: an encoder with a cosine classifier.

The class vectors start at the mean embedding of their examples (prototypes, Snell et al. 2017, arXiv 1703.05175), so
that training starts from a classifier instead of noise: fewer epochs with much data, several points with little.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headwater.data import LabelSpace, TextExample
from headwater.errors import HeadwaterError
from headwater.evaluation import metric_value
from headwater.models import BaseModel
from headwater.tuning.config import ClassifyConfig, TuneConfig
from headwater.tuning.encoding import SentenceEncoder, load_backbone, load_tokenizer
from headwater.tuning.methods.lora import add_adapters, start_from
from headwater.tuning.training import Task, autocast

_EVALUATION_TOKENS = 4096
_PROTOTYPE_EXAMPLES = 200


class TextClassifier(nn.Module):
    """Token ids → logits [batch, labels]: scaled cosines between the text's vector and the class vectors."""

    def __init__(self, encoder: SentenceEncoder, labels: int, scale: float, multi_label: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.scale = scale
        self.multi_label = multi_label
        self.classes = nn.Parameter(torch.randn(labels, encoder.width) / math.sqrt(encoder.width))
        # A multi-label class needs a threshold of its own; among exclusive classes only differences count.
        self.bias = nn.Parameter(torch.zeros(labels), requires_grad=multi_label)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        vectors = self.encoder(input_ids, attention_mask)
        logits: Tensor = self.scale * vectors @ nn.functional.normalize(self.classes, dim=-1).T
        return logits + self.bias if self.multi_label else logits


@dataclass(frozen=True)
class Tokens:
    """Token ids of each text, already truncated; `cut` counts the texts that lost their end."""

    ids: list[list[int]]
    cut: int

    @property
    def lengths(self) -> list[int]:
        return [len(ids) for ids in self.ids]


def tokenise(base: BaseModel, texts: Sequence[str], max_length: int, prefix: str = "") -> Tokens:
    """Token ids with the special tokens, at most `max_length` of them."""
    tokenizer = load_tokenizer(base)
    tokenizer.enable_truncation(max_length)
    encodings = tokenizer.encode_batch([prefix + text for text in texts])
    return Tokens([encoding.ids for encoding in encodings], sum(bool(encoding.overflowing) for encoding in encodings))


def choose_length(base: BaseModel, texts: Sequence[str], config: TuneConfig, prefix: str) -> int:
    """The configured maximal length, or one that 99.5 % of the texts fit in. Raises above the truncation limit."""
    lengths = np.array(tokenise(base, texts, base.max_length, prefix).lengths)
    length = config.max_length or min(base.max_length, int(math.ceil(np.quantile(lengths, 0.995) / 8) * 8))
    if length > base.max_length:
        raise HeadwaterError(f"max_length {length} is above the {base.max_length} tokens of {base.name}")
    share = float((lengths > length).mean()) if config.max_length else float((lengths >= base.max_length).mean())
    if share > config.truncation_limit:
        raise HeadwaterError(
            f"{share:.0%} of the texts are longer than {length} tokens and would lose their end; "
            "raise --max-length, split the texts, or accept it with --truncation-limit"
        )
    return length


def pad(ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Padded int64 ids and attention mask, both [batch, longest]."""
    longest = max(len(row) for row in ids)
    batch = torch.zeros(len(ids), longest, dtype=torch.long)
    mask = torch.zeros(len(ids), longest, dtype=torch.long)
    for number, row in enumerate(ids):
        batch[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = 1
    return batch, mask


@torch.no_grad()
def run_model(module: nn.Module, ids: Sequence[Sequence[int]], width: int, precision: str) -> NDArray[np.float32]:
    """Apply `module(ids, mask) -> [batch, width]` to all texts without dropout, grouped by length."""
    was_training = module.training
    module.eval()
    result = np.zeros((len(ids), width), np.float32)
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    start = 0
    while start < len(order):
        count = max(1, _EVALUATION_TOKENS // max(1, len(ids[order[min(len(order) - 1, start + 63)]])))
        rows = order[start : start + count]
        with autocast(precision):
            output = module(*pad([ids[row] for row in rows]))
        result[rows] = output.float().numpy()
        start += count
    module.train(was_training)
    return result


class ClassificationTask:
    """A model with its training and validation examples, in the form that the loop takes."""

    def __init__(
        self,
        base: BaseModel,
        config: ClassifyConfig,
        space: LabelSpace,
        train: Sequence[TextExample],
        valid: Sequence[TextExample],
    ) -> None:
        torch.manual_seed(config.seed)
        self.base, self.config, self.space = base, config, space
        self.prefix = base.query_prefix
        examples = [*train, *_label_texts(space, config)]
        self.max_length = choose_length(base, [example.text for example in examples], config, self.prefix)
        tokens = self.tokens(examples)
        self.cut = tokens.cut
        self.ids = tokens.ids
        self.targets = torch.from_numpy(space.encode(examples))
        self.valid_ids = self.tokens(valid).ids
        self.valid_targets = space.encode(valid)
        self.model = self._build()
        if config.start:
            self._go_on_from(Path(config.start))
        elif config.prototypes:
            self._start_at_prototypes()
        self.class_weights = _class_weights(self.targets, space) if config.class_weights else None

    def tokens(self, examples: Sequence[TextExample]) -> Tokens:
        return tokenise(self.base, [example.text for example in examples], self.max_length, self.prefix)

    def _build(self) -> TextClassifier:
        config = self.config
        backbone = load_backbone(self.base)
        if config.method == "head":
            backbone.requires_grad_(False)
        elif config.method == "lora":
            backbone = add_adapters(backbone, config)
        elif not config.tune_embeddings:
            backbone.embeddings.word_embeddings.requires_grad_(False)
        encoder = SentenceEncoder(backbone, self.base.pooling)
        return TextClassifier(encoder, len(self.space), config.scale, self.space.multi_label)

    def _go_on_from(self, path: Path) -> None:
        """Adapter and head of an earlier run with the same labels."""
        from safetensors.torch import load_file

        if not path.is_file():
            raise HeadwaterError(f"there is no adapter {path}; name the adapter.safetensors of a run folder")
        tensors = load_file(path)
        classes = tensors.pop("head.classes")
        bias = tensors.pop("head.bias")
        if classes.shape != self.model.classes.shape:
            raise HeadwaterError(f"{path} knows {len(classes)} labels, and these examples have {len(self.space)}")
        start_from(self.model.encoder.backbone, tensors)
        with torch.no_grad():
            self.model.classes.copy_(classes)
            self.model.bias.copy_(bias)

    def _start_at_prototypes(self) -> None:
        """Class vectors = mean unit vector of (a sample of) their examples."""
        members = _members(self.targets, self.space)
        chosen = sorted({row for rows in members for row in rows[:_PROTOTYPE_EXAMPLES]})
        place = {row: number for number, row in enumerate(chosen)}
        encoder = self.model.encoder
        vectors = torch.from_numpy(
            run_model(encoder, [self.ids[row] for row in chosen], encoder.width, self.config.precision)
        )
        with torch.no_grad():
            for label, rows in enumerate(members):
                if rows:
                    mean = vectors[[place[row] for row in rows[:_PROTOTYPE_EXAMPLES]]].mean(0)
                    self.model.classes[label] = nn.functional.normalize(mean, dim=-1)

    def task(self) -> Task:
        head = [parameter for parameter in (self.model.classes, self.model.bias) if parameter.requires_grad]
        return Task(self.model, [len(ids) for ids in self.ids], self.loss, self.metric, head, self.config.head_rate)

    def loss(self, rows: list[int]) -> Tensor:
        """Mean loss of these examples; with R-Drop two dropout passes are also drawn together."""
        batch, mask = pad([self.ids[row] for row in rows])
        targets = self.targets[rows]
        if not self.config.r_drop:
            return self._data_loss(self.model(batch, mask), targets)
        logits = self.model(batch.repeat(2, 1), mask.repeat(2, 1))
        first, second = logits.float().chunk(2)
        apart = _divergence(first, second, self.space.multi_label)
        return self._data_loss(logits, torch.cat([targets, targets])) + self.config.r_drop * apart / 2

    def _data_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        logits = logits.float()
        smoothing = self.config.label_smoothing
        if self.space.multi_label:
            targets = targets * (1 - smoothing) + smoothing / 2  # a label holds or does not: two classes
            return nn.functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=self.class_weights)
        return nn.functional.cross_entropy(logits, targets, self.class_weights, label_smoothing=smoothing)

    def logits(self, ids: Sequence[Sequence[int]], precision: str | None = None) -> NDArray[np.float32]:
        """Logits of the present weights, in the precision of training unless said: bf16 rounds them to 1/16 and more,

        too coarse for what is fitted to them and served in float32.
        """
        return run_model(self.model, ids, len(self.space), precision or self.config.precision)

    def metric(self) -> float:
        """The validation metric of the present weights."""
        logits = self.logits(self.valid_ids)
        predicted = (logits > 0).astype(np.int64) if self.space.multi_label else logits.argmax(1)
        metric = self.config.metric_for(self.space.multi_label)
        return metric_value(metric, self.valid_targets, predicted, self.space)


def _divergence(first: Tensor, second: Tensor, multi_label: bool) -> Tensor:
    """KL(p, q) + KL(q, p) of two passes over a batch, from logits [batch, labels]: mean over texts.

    It is sum (p - q) (log p - log q); of a label that holds or does not, (p - q) (logit p - logit q), here the mean
    over labels, as their loss is.
    """
    if multi_label:
        return ((first.sigmoid() - second.sigmoid()) * (first - second)).mean()
    logs = first.log_softmax(-1), second.log_softmax(-1)
    return ((logs[0].exp() - logs[1].exp()) * (logs[0] - logs[1])).sum(-1).mean()


def _label_texts(space: LabelSpace, config: ClassifyConfig) -> list[TextExample]:
    if not config.label_texts:
        return []
    names = [name for name in space.names if name != config.out_of_scope]
    return [TextExample(name.replace("_", " ").replace("-", " ").strip("? "), (name,)) for name in names]


def _members(targets: Tensor, space: LabelSpace) -> list[list[int]]:
    if space.multi_label:
        return [torch.nonzero(targets[:, label]).flatten().tolist() for label in range(len(space))]
    return [torch.nonzero(targets == label).flatten().tolist() for label in range(len(space))]


def _class_weights(targets: Tensor, space: LabelSpace) -> Tensor:
    """Inverse frequency, 1 on average; for multi-label the weight of the positive side."""
    weights: Tensor
    if space.multi_label:
        positive = targets.sum(0).clamp_min(1)
        weights = ((len(targets) - positive) / positive).clamp(0.1, 20)
        return weights
    counts = torch.bincount(targets, minlength=len(space)).clamp_min(1).float()
    weights = counts.sum() / (len(space) * counts)
    return weights
