"""Training recipes: YAML files that say which model is trained on which mixture, and how. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from instruct.mixture.recipe import MixtureRecipe, load_mixture_recipe
from instruct.model import StrictModel
from instruct.specs.recipe import load_recipe_with_places


class ModelChoice(StrictModel):
    """The model that is trained: its weights stay as they are, an adapter is learnt beside them."""

    id: str = Field(min_length=1, description="Name on the Hugging Face Hub, or a folder.")
    revision: str | None = Field(default=None, description="Commit, tag or branch on the Hub.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="Type of the frozen weights; auto: bfloat16 on a GPU that has it, else float32."
    )
    image_processor: dict[str, Any] = Field(
        default_factory=dict,
        description="Options of the image processor instead of its own, such as size: {longest_edge: 1003520, "
        "shortest_edge: 3136} for Qwen-VL (pixels of an image).",
    )
    attention: Literal["sdpa", "eager", "flash_attention_2"] | None = Field(
        default=None, description="Attention implementation; default: the library's choice."
    )


class Lora(StrictModel):
    """Low-rank adapters (Hu et al., 2021, arXiv:2106.09685)."""

    preset: Literal["language", "language+projector", "all-linear"] = Field(
        default="language",
        description="Which linear layers get an adapter: those of the language model, also those between vision tower "
        "and language model, or all but the output layer.",
    )
    targets: list[str] | None = Field(
        default=None, description="Names or name endings of linear layers instead of a preset."
    )
    r: int = Field(default=16, ge=1, description="Rank.")
    alpha: int = Field(default=32, ge=1, description="The update is scaled by alpha/r.")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="Dropout in front of the adapter.")


class Quant(StrictModel):
    """Frozen weights of the language model in few bits (QLoRA, Dettmers et al., 2023, arXiv:2305.14314)."""

    bits: Literal[4, 8] = Field(default=4, description="4: NF4; 8: LLM.int8().")
    double: bool = Field(default=True, description="Quantise the constants of the 4-bit blocks too.")


class Plan(StrictModel):
    """Which examples a run sees, in which order and in how large steps."""

    max_length: int = Field(
        default=2048,
        ge=1,
        description="Tokens of an example, image tokens included; longer ones are left out, not cut.",
    )
    global_batch: int = Field(default=16, ge=1, description="Examples per optimizer step, over all processes.")
    micro_batch: int = Field(default=1, ge=1, description="Examples per forward pass of one process.")
    epochs: float | None = Field(
        default=None, gt=0, description="Draws of the mixture; default 1 where steps is not set."
    )
    steps: int | None = Field(default=None, ge=1, description="Optimizer steps, instead of epochs.")
    seed: int = Field(default=0, ge=0, description="Key of the order.")
    pool: int = Field(
        default=32,
        ge=1,
        description="Global batches within which examples are sorted by length: more of them pad less, fewer (1: none) "
        "mix the lengths of a step better.",
    )
    text_only_apart: bool = Field(
        default=False,
        description="No step has both examples with and without images, which DeepSpeed ZeRO-3 needs.",
    )
    on_too_long: Literal["exclude", "error"] = Field(
        default="exclude", description="exclude counts and lists examples longer than max_length; error stops."
    )

    @model_validator(mode="after")
    def _one_of(self) -> Plan:
        if self.epochs is not None and self.steps is not None:
            raise ValueError("epochs and steps are both set; set one of them to null")
        return self


class Optimizer(StrictModel):
    """How the adapter is changed."""

    name: Literal["adamw_torch", "adamw_torch_fused", "paged_adamw_8bit"] = "adamw_torch"
    learning_rate: float = Field(default=2e-4, gt=0)
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warmup: float = Field(default=0.03, ge=0, le=1, description="Share of the steps with a rising learning rate.")
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = Field(default=1.0, gt=0, description="Longer gradients are scaled down to this length.")


class Evaluation(StrictModel):
    """Loss on examples that are not trained on, per '[Task] [Dataset]'."""

    split: Literal["validation", "test", "train"] = "validation"
    every: int | None = Field(
        default=None, ge=1, description="Optimizer steps between evaluations; default: at the end."
    )
    max_rows: int = Field(default=64, ge=1, description="Examples per '[Task] [Dataset]', chosen by the plan's seed.")
    batch_size: int = Field(default=4, ge=1, description="Examples per forward pass of one process.")
    early_stop: int | None = Field(
        default=None,
        ge=1,
        description="Stop after this many evaluations in a row without a lower loss, and keep the best checkpoint's "
        "adapter; save.every must be every.",
    )

    @model_validator(mode="after")
    def _early_stop_needs_every(self) -> Evaluation:
        if self.early_stop is not None and self.every is None:
            raise ValueError("early_stop counts evaluations: set every too")
        return self


class GenerationHook(StrictModel):
    """Answers that are generated at every checkpoint; they change nothing about the training."""

    split: Literal["validation", "test", "train"] = "validation"
    max_rows: int = Field(default=16, ge=1, description="Examples per '[Task] [Dataset]'.")
    max_new_tokens: int = Field(default=256, ge=1)
    batch_size: int = Field(default=4, ge=1)


class Save(StrictModel):
    """Checkpoints: adapter, optimizer and random states, never the base model."""

    every: int = Field(default=500, ge=1, description="Optimizer steps between checkpoints; one is written at the end.")
    keep: int = Field(default=2, ge=2, description="Newest checkpoints that are kept.")


class Loader(StrictModel):
    """How examples reach the model."""

    workers: int = Field(default=0, ge=0, description="Processes per training process that read and decode images.")
    on_bad_image: Literal["error", "mask"] = Field(
        default="error",
        description="An image that does not decode: error names it and stops; mask trains on a blank image with "
        "nothing supervised, and counts it.",
    )


class Log(StrictModel):
    """What is written down while training; log.jsonl always is."""

    every: int = Field(default=10, ge=1, description="Optimizer steps between lines.")
    tensorboard: bool = False
    wandb: bool = False


class TrainingRecipe(StrictModel):
    """A LoRA fine-tuning run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", description="Name of the run.")
    out: Path = Field(description="Folder of the run.")
    mixture: str | MixtureRecipe = Field(
        description="What is trained on: a mixture recipe's file, relative to this one, or a shipped name; or the "
        "mixture itself."
    )
    model: ModelChoice
    lora: Lora = Field(default_factory=Lora)
    quant: Quant | None = Field(default=None, description="Quantise the frozen weights; needs the extra [quant].")
    gradient_checkpointing: bool = Field(
        default=False, description="Recompute activations in the backward pass: less memory, about a third more time."
    )
    plan: Plan = Field(default_factory=Plan)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    evaluation: Evaluation | None = Field(default_factory=Evaluation, description="null: no evaluation loss.")
    generation: GenerationHook | None = Field(default=None, description="Generate at every checkpoint; null: do not.")
    save: Save = Field(default_factory=Save, validate_default=True)
    loader: Loader = Field(default_factory=Loader)
    log: Log = Field(default_factory=Log)

    @field_validator("save")
    @classmethod
    def _best_checkpoint_exists(cls, save: Save, info: ValidationInfo) -> Save:
        evaluation: Evaluation | None = info.data.get("evaluation")
        if evaluation and evaluation.early_stop and save.every != evaluation.every:
            raise ValueError(
                f"with early_stop, save.every ({save.every}) must be evaluation.every ({evaluation.every}):"
                " the best adapter is taken from its checkpoint"
            )
        return save

    def mixture_recipe(self) -> MixtureRecipe:
        """The mixture, read from its file where the recipe names one.

        Raises:
            SpecError: the file is no mixture recipe.
        """
        return self.mixture if isinstance(self.mixture, MixtureRecipe) else load_mixture_recipe(self.mixture)


def load_training_recipe(path: str | Path, overrides: Sequence[str] = ()) -> TrainingRecipe:
    """Read a training recipe and apply overrides.

    Args:
        path: a file, or the name of a shipped recipe (``lora_tiny``).
        overrides: ``key=value`` texts; dotted keys reach inside (``plan.steps=20``); values are YAML, paths relative to
            the working directory.

    Raises:
        SpecError: with every fault.
        UsageError: an override is not of the form ``key=value``, or there is no such recipe.
    """
    recipe, file = load_recipe_with_places(path, TrainingRecipe, overrides, kind="lora")
    if isinstance(recipe.mixture, MixtureRecipe):
        recipe.mixture.stands_in(file, ("mixture",))
    elif not any(override.startswith("mixture=") for override in overrides):
        beside = file.path.parent / recipe.mixture
        if beside.is_file():
            return recipe.model_copy(update={"mixture": str(beside)})
    return recipe
