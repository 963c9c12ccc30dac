"""The operations that the MFU counts, against a counter of what is really computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from instruct.training.collate import Collator
from instruct.training.lora import attach_adapter
from instruct.training.loss import supervised_loss
from instruct.training.meter import Operations, peak_flops
from instruct.training.recipe import Lora, ModelChoice


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "idefics3"])
@pytest.mark.parametrize("preset", ["language", "all-linear"])
def test_operations_are_those_that_torch_counts(
    family: str,
    preset: str,
    tiny: Callable[..., Any],
    processor_of: Callable[..., Any],
    demo_rows: list[dict[str, Any]],
) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    from instruct.training.base import load_base

    choice = ModelChoice(id=str(tiny(family)))
    # Rank 1: the formula leaves the adapter's own operations out.
    model = attach_adapter(load_base(choice), choice, Lora(preset=preset, r=1, dropout=0), False)
    batch = Collator(processor_of(family))([row for row in demo_rows if len(row["images"]) == 1][:4])
    facts = batch.pop("facts")
    operations = Operations(model, checkpointing=False)
    with FlopCounterMode(display=False) as counter:
        supervised_loss(model, batch, facts.supervised)[0].backward()
    ours = operations.language(facts) + operations.vision(int(operations.patches(batch)))
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.2)


def test_a_cpu_has_no_peak() -> None:
    assert peak_flops(torch.device("cpu")) is None
