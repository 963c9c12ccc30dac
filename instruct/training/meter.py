"""What a run gets through: examples, tokens, padding, waiting, memory, and the share of the GPU's peak it uses."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

from instruct.training.collate import BatchFacts

# Dense bfloat16 FLOP/s by name of the GPU, from NVIDIA's data sheets (without sparsity). Longer names first.
_PEAK = {
    "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12, "H200": 989e12, "H20": 148e12, "H800": 989e12,
    "B200": 2250e12, "GB200": 2500e12, "A100": 312e12, "A800": 312e12, "A40": 149.7e12, "A10": 125e12,
    "L40S": 362e12, "L40": 181e12, "L4": 121e12, "RTX 4090": 165.2e12, "RTX 3090": 71e12, "RTX 6000 Ada": 364.25e12,
}  # fmt: skip
_SUMS = ("examples", "images", "supervised", "tokens", "padded", "bad_images", "masked_rows", "wait", "flops")


class Meter:
    """Counts what this process did since the last reading, and adds up all processes when it is read.

    Args:
        model: the model with its adapter, to count operations; None leaves the MFU out.
        checkpointing: activations are computed twice.
    """

    def __init__(self, model: Any = None, checkpointing: bool = False) -> None:
        self._operations = Operations(model, checkpointing) if model is not None else None
        self._sums = dict.fromkeys(_SUMS, 0.0)
        self._patches: Any = 0  # a tensor on the GPU: to read it would wait for the GPU
        self._since = time.perf_counter()

    def wait(self, seconds: float) -> None:
        """Time spent waiting for the loader."""
        self._sums["wait"] += seconds

    def batch(self, facts: BatchFacts, inputs: dict[str, Any]) -> None:
        """A batch that was trained on."""
        for name in ("images", "supervised", "tokens", "padded", "bad_images", "masked_rows"):
            self._sums[name] += getattr(facts, name)
        self._sums["examples"] += len(facts.ids)
        if self._operations is not None:
            self._sums["flops"] += self._operations.language(facts)
            self._patches = self._patches + self._operations.patches(inputs)

    def leave_out(self, since: float) -> None:
        """Do not count the time from `since` (``time.perf_counter()``), or the last reading after it, until now."""
        self._since += time.perf_counter() - max(since, self._since)

    def read(self, accelerator: Any) -> dict[str, float]:
        """Rates over all processes since the last reading; every process must call it."""
        import torch

        elapsed = max(time.perf_counter() - self._since, 1e-9)
        device = accelerator.device
        if self._operations is not None:
            self._sums["flops"] += self._operations.vision(int(self._patches))
        mine = torch.tensor([*self._sums.values(), elapsed, peak_memory()], dtype=torch.float64)
        if device.type == "mps":  # has no float64
            mine = mine.float()
        everyone = accelerator.gather(mine.to(device)[None]).cpu()
        sums = dict(zip(_SUMS, everyone.sum(0).tolist(), strict=False))
        world, elapsed = len(everyone), everyone[:, -2].mean().item()
        facts = {
            "examples_per_s": sums["examples"] / elapsed,
            "images_per_s": sums["images"] / elapsed,
            "supervised_tokens_per_s": sums["supervised"] / elapsed,
            "tokens_per_s": sums["tokens"] / elapsed,
            "padding_waste": 1 - sums["tokens"] / sums["padded"] if sums["padded"] else 0.0,
            "loader_wait": sums["wait"] / world / elapsed,
            "memory_bytes": int(everyone[:, -1].max()),
            "bad_images": int(sums["bad_images"]),
            "masked_rows": int(sums["masked_rows"]),
        }
        if self._operations is not None and (peak := peak_flops(device)):
            facts["mfu"] = sums["flops"] / (elapsed * world * peak)
        self._sums, self._patches = dict.fromkeys(_SUMS, 0.0), 0
        self._since = time.perf_counter()
        return facts


class Operations:
    """Floating-point operations of a training step with frozen weights.

    A token passes each weight once forward (2 operations) and once backward (2: the gradient of activations; the one of
    weights is not computed), and forward again with checkpointing. Attention adds 4·width·length operations forward per
    layer and token, twice that backward. Layers below the first adapter have no backward pass: the vision tower, unless
    it has adapters of its own. The output layer works on supervised tokens only. The counting rule is that of "Scaling
    Laws for Neural Language Models" (Kaplan et al., 2020, arXiv:2001.08361, table 1), without the gradients of weights.
    """

    def __init__(self, model: Any, checkpointing: bool) -> None:
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        decoder, head = base.get_decoder(), base.get_output_embeddings()
        text = base.config.get_text_config()
        inside = {id(weight) for weight in decoder.parameters()}
        inputs = decoder.get_input_embeddings()
        embedding = sum(weight.numel() for weight in inputs.parameters())
        self._language = _numel(decoder.parameters()) - embedding
        self._head = _numel(head.parameters()) if head is not None else 0
        outside = [
            (name, weight)
            for name, weight in base.named_parameters()
            if id(weight) not in inside and (head is None or all(weight is not other for other in head.parameters()))
        ]
        self._vision = _numel(weight for _, weight in outside)
        trained = any("lora_" in name for name, _ in outside)
        self._layers_width = text.num_hidden_layers * text.hidden_size
        self._patch = getattr(getattr(base.config, "vision_config", None), "patch_size", None)
        self._passes = 4 + 2 * checkpointing
        self._vision_passes = self._passes if trained else 2

    def language(self, facts: BatchFacts) -> float:
        """Operations of a batch in the language model, forward and backward."""
        tokens, rows = facts.tokens, max(len(facts.ids), 1)
        attention = 2 * self._layers_width * tokens * (tokens / rows)
        return float(self._passes * (self._language * tokens + self._head * facts.supervised + attention))

    def vision(self, patches: int) -> float:
        """Operations for image patches, forward and backward."""
        return float(self._vision_passes * self._vision * patches)

    def patches(self, inputs: dict[str, Any]) -> Any:
        """Image patches of a batch, as a number or a tensor."""
        if "image_grid_thw" in inputs:
            return inputs["image_grid_thw"].prod(-1).sum()
        pixels = inputs.get("pixel_values")
        if pixels is None or not self._patch:
            return 0
        pictures = math.prod(pixels.shape[:-3])
        return pictures * (pixels.shape[-2] // self._patch) * (pixels.shape[-1] // self._patch)


def _numel(weights: Any) -> int:
    # 4-bit weights are packed, two in a byte.
    return sum(weight.numel() * (2 if type(weight).__name__ == "Params4bit" else 1) for weight in weights)


def peak_flops(device: Any) -> float | None:
    """Dense bfloat16 operations per second of a device, by its name; None for a CPU or an unknown name."""
    import torch

    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((_PEAK[known] for known in sorted(_PEAK, key=len, reverse=True) if known in name), None)


def peak_memory() -> int:
    """Most bytes this process has used: of the GPU where there is one, else of main memory."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_reserved())
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
