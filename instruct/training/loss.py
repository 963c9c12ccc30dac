"""The loss on supervised tokens, computing logits at supervised positions only.

Logits are as wide as the vocabulary, and most tokens of a row are image and prompt: leaving those out saves most of the
memory of the loss and, for small models, of its time.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from instruct.training.collate import IGNORED


def keeps_logits(model: Any) -> bool:
    """Whether the model can compute logits at chosen positions only (wrappers of peft, accelerate and DDP are opened).

    False for encoder-decoder models, for PaliGemma (which tells prompt and answer apart by the labels) and for models
    whose ``forward`` has no ``logits_to_keep``: they get the stock loss.
    """
    base = _opened(model)
    if base.config.is_encoder_decoder or base.config.model_type == "paligemma":
        return False
    return "logits_to_keep" in inspect.signature(type(base).forward).parameters


def _opened(model: Any) -> Any:
    """The transformers model inside the wrappers of peft, ``torch.compile`` and DDP."""
    while True:
        if hasattr(model, "get_base_model"):
            model = model.get_base_model()
        elif hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif hasattr(model, "module"):
            model = model.module
        else:
            return model


def supervised_loss(model: Any, inputs: Mapping[str, Any], num_items: Any = None) -> tuple[Any, Any]:
    """Cross-entropy summed over the supervised tokens of a batch, divided by `num_items`; and the model's output.

    Equal to the loss of ``model(**inputs)``. A batch in which nothing is supervised gives 0, with gradients of 0.
    The factor for several processes is the caller's (``loss * accelerator.num_processes`` where the count is of all).

    Args:
        model: the model, wrapped or not.
        inputs: a batch of :class:`instruct.training.collate.Collator` without its facts.
        num_items: supervised tokens to divide by, over all processes and accumulation steps; None: those of the batch.
    """
    import torch
    from torch.nn.functional import cross_entropy

    inputs = dict(inputs)
    labels = inputs.pop("labels")
    if not keeps_logits(model):
        return _stock_loss(model, inputs, labels, num_items)
    supervised = labels[:, 1:] != IGNORED
    positions = supervised.any(dim=0).nonzero().squeeze(1)
    if not len(positions):
        positions = torch.zeros(1, dtype=torch.long, device=labels.device)
    outputs = model(**inputs, logits_to_keep=positions, use_cache=False)
    total = cross_entropy(
        outputs.logits.float().flatten(0, 1),
        labels[:, positions + 1].flatten(),
        ignore_index=IGNORED,
        reduction="sum",
    )
    return total / _divisor(num_items, supervised.sum()), outputs


def _stock_loss(model: Any, inputs: Mapping[str, Any], labels: Any, num_items: Any) -> tuple[Any, Any]:
    """The model's own mean over supervised tokens, weighted again by their number."""
    shifted = labels if _opened(model).config.is_encoder_decoder else labels[:, 1:]
    count = (shifted != IGNORED).sum()
    outputs = model(**inputs, labels=labels, use_cache=False)
    total = outputs.loss * count if count else outputs.logits.sum() * 0.0  # the mean of nothing is not a number
    return total / _divisor(num_items, count), outputs


def _divisor(num_items: Any, count: Any) -> Any:
    import torch

    return torch.as_tensor(count if num_items is None else num_items, device=count.device).clamp(min=1)
