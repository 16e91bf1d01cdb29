"""The loss of a classification task: class weights, smoothing, two dropout passes."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Categorical, kl_divergence

from headwater.data import LabelSpace, TextExample
from headwater.models import BaseModel
from headwater.tuning.classification import ClassificationTask, pad
from headwater.tuning.config import ClassifyConfig

# Nine texts of one label to one of the other; in the multi-label task that one has both.
EXAMPLES = [TextExample(f"invoice refund card {n}", ("payment",)) for n in range(9)]
ONE, BOTH = TextExample("parcel courier", ("delivery",)), TextExample("parcel refund", ("delivery", "payment"))


def make_task(base: BaseModel, *, several: bool, dropout: bool = False, **options: object) -> ClassificationTask:
    examples = [*EXAMPLES, BOTH if several else ONE]
    space = LabelSpace(("delivery", "payment"), multi_label=several)
    config = ClassifyConfig(precision="fp32", threads=1, prototypes=False, **options)  # type: ignore[arg-type]
    task = ClassificationTask(base, config, space, examples, examples)
    if not dropout:
        for module in task.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    return task


def logits_of(task: ClassificationTask, rows: list[int]) -> torch.Tensor:
    logits: torch.Tensor = task.model(*pad([task.ids[row] for row in rows]))
    return logits


def test_class_weights_let_a_rare_class_count_as_much_as_a_frequent_one(tiny_base: BaseModel) -> None:
    task = make_task(tiny_base, several=False, class_weights=True)
    plain = make_task(tiny_base, several=False)
    frequent, rare = (task.loss([row]).item() for row in (0, 9))

    assert frequent != pytest.approx(rare, rel=0.01)
    assert plain.loss([0, 9]).item() == pytest.approx((frequent + rare) / 2, rel=1e-4)
    assert task.loss([0, 9]).item() == pytest.approx((frequent + 9 * rare) / 10, rel=1e-4)


def test_class_weights_and_smoothing_of_several_labels_work_on_each_label(tiny_base: BaseModel) -> None:
    task = make_task(tiny_base, several=True, class_weights=True, label_smoothing=0.1)
    rows = list(range(10))
    chances = logits_of(task, rows).sigmoid()

    # "delivery" holds for one text of ten, "payment" for all (a weight of 0 becomes the least, .1).
    targets = torch.tensor([[0.05, 0.95]] * 9 + [[0.95, 0.95]])
    weights = torch.tensor([9.0, 0.1])
    expected = -(weights * targets * chances.log() + (1 - targets) * (1 - chances).log()).mean()
    assert task.loss(rows).item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("several", [False, True])
def test_r_drop_draws_two_dropout_passes_together(several: bool, tiny_base: BaseModel) -> None:
    task, plain = (make_task(tiny_base, several=several, dropout=True, r_drop=weight) for weight in (30.0, 0.0))
    task.model.train()
    plain.model.train()
    rows = [0, 1, 9]

    def seeded(value: Callable[[], torch.Tensor]) -> torch.Tensor:
        torch.manual_seed(1)
        return value().detach()

    first, second = seeded(lambda: logits_of(task, [*rows, *rows])).chunk(2)
    law = Bernoulli if several else Categorical
    apart = kl_divergence(law(logits=first), law(logits=second)) + kl_divergence(law(logits=second), law(logits=first))
    loss, data = seeded(lambda: task.loss(rows)), seeded(lambda: plain.loss([*rows, *rows]))

    assert loss.item() > 1.1 * data.item()
    assert loss.item() == pytest.approx((data + 30.0 * apart.mean() / 2).item(), rel=1e-3)
