"""LoRA (Hu et al. 2021, arXiv 2106.09685) by PEFT, on every linear layer of the transformer's blocks."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from headwater.errors import HeadwaterError
from headwater.tuning.config import TuneConfig

# Linear layers inside the blocks, by architecture; poolers and heads outside the blocks are left alone.
_TARGETS = {
    "bert": r"encoder\.layer\.\d+\..*(query|key|value|dense)",
    "roberta": r"encoder\.layer\.\d+\..*(query|key|value|dense)",
    "xlm-roberta": r"encoder\.layer\.\d+\..*(query|key|value|dense)",
    "mpnet": r"encoder\.layer\.\d+\..*(attn\.q|attn\.k|attn\.v|attn\.o|dense)",
}


def add_adapters(backbone: Any, config: TuneConfig) -> Any:
    """The backbone with trainable adapters, all else frozen. Raises HeadwaterError for other architectures."""
    from peft import LoraConfig, get_peft_model

    kind = backbone.config.model_type
    if kind not in _TARGETS:
        raise HeadwaterError(f"LoRA knows {', '.join(_TARGETS)}, not {kind!r}; use --method full")
    return get_peft_model(
        backbone,
        LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules=_TARGETS[kind],
            bias="none",
        ),
    )


def adapter_weights(adapted: Any) -> dict[str, Tensor]:
    """{module}.A [rank, in] and {module}.B [out, rank] of each adapter, B scaled by alpha / rank."""
    tensors = {}
    for name, module in adapted.get_base_model().named_modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            tensors[f"{name}.A"] = module.lora_A["default"].weight.detach().clone()
            tensors[f"{name}.B"] = module.lora_B["default"].weight.detach() * module.scaling["default"]
    return tensors


def start_from(adapted: Any, tensors: Mapping[str, Tensor]) -> None:
    """Set the adapters to what `adapter_weights` gave. Raises HeadwaterError where rank or layers differ."""
    place = {name: module for name, module in adapted.get_base_model().named_modules() if hasattr(module, "lora_A")}
    given = {key[:-2] for key in tensors if key.endswith(".A")}
    if given != place.keys():
        odd = sorted(given ^ place.keys())
        raise HeadwaterError(f"the adapter to start from has other layers than this base: {', '.join(odd[:3])}")
    with torch.no_grad():
        for name, module in place.items():
            lower, upper = module.lora_A["default"].weight, module.lora_B["default"].weight
            a, b = tensors[f"{name}.A"], tensors[f"{name}.B"]
            if a.shape != lower.shape or b.shape != upper.shape:
                raise HeadwaterError(
                    f"the adapter to start from has rank {a.shape[0]} at {name}, and this run {lower.shape[0]}; "
                    f"use --lora-rank {a.shape[0]}"
                )
            lower.copy_(a)
            upper.copy_(b.float() / module.scaling["default"])


def merge_adapters(backbone: Any, tensors: Mapping[str, Tensor]) -> None:
    """Add B @ A to the weight of each named linear layer, in place. Raises HeadwaterError for an unknown layer."""
    modules = dict(backbone.named_modules())
    with torch.no_grad():
        for key, lower in tensors.items():
            if not re.search(r"\.A$", key):
                continue
            name = key[:-2]
            if name not in modules:
                raise HeadwaterError(f"the adapter names the layer {name!r}, which the base model has not")
            modules[name].weight += tensors[f"{name}.B"].float() @ lower.float()


def merged(adapted: Any) -> Any:
    """The plain backbone with its adapters merged in."""
    return adapted.merge_and_unload()
