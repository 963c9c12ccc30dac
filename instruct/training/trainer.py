"""The trainer: the library's, with our loss, our evaluation, our log and a guard against losses that are no numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import Trainer, TrainerCallback

from instruct.errors import DataError
from instruct.training import checkpoints
from instruct.training.faults import raised
from instruct.training.log import console_evaluation, console_line, write_event
from instruct.training.loss import supervised_loss
from instruct.training.meter import Meter

if TYPE_CHECKING:
    from instruct.training.validation import Validation


class LoraTrainer(Trainer):  # type: ignore[misc]
    """Trains an adapter on a planned order of rows.

    Args:
        run: folder of the run.
        validation: evaluates; None where the recipe has no evaluation.
        meter: counts what is got through.
        options: those of ``transformers.Trainer``.
    """

    control: Any  # of the library

    def __init__(self, run: Path, validation: Validation | None, meter: Meter, **options: Any) -> None:
        super().__init__(**options)
        self.model_accepts_loss_kwargs = True  # the loss is divided by the supervised tokens of the whole step
        self._run_folder, self._validation, self._meter = run, validation, meter
        self._losses: list[tuple[torch.Tensor, tuple[str, ...]]] = []
        self._norm: float | None = None
        self._best: int | None = None
        self._evaluated: dict[str, Any] | None = None
        self.add_callback(_Steps(self))

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """Batches of an optimizer step; the wait for them is measured.

        Raises:
            UserError: a batch could not be made.
        """
        start = time.perf_counter()
        batches, items = super().get_batch_samples(raised(epoch_iterator), num_batches, device)
        self._meter.wait(time.perf_counter() - start)
        return batches, items

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Summed loss of the supervised tokens over their number in the whole step."""
        inputs = dict(inputs)
        facts = inputs.pop("facts")
        loss, outputs = supervised_loss(model, inputs, num_items_in_batch)
        if num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # gradients are averaged over the processes
        self._losses.append((loss.detach(), facts.ids))
        self._meter.batch(facts, inputs)
        return (loss, outputs) if return_outputs else loss

    def check_step(self) -> None:
        """Stop, on all processes, before a loss or gradient that is no number reaches the weights.

        Raises:
            DataError: with the ids of the batches.
        """
        losses, self._losses = self._losses, []
        finite = [math.isfinite(value) for value in torch.stack([loss for loss, _ in losses]).tolist()]
        gradient = self._norm is None or math.isfinite(self._norm)
        here = torch.tensor([not all(finite), not gradient], device=self.accelerator.device, dtype=torch.int32)
        loss_faults, gradient_faults = self.accelerator.reduce(here, "sum").tolist()
        if not loss_faults and not gradient_faults:
            return
        from accelerate.utils import gather_object

        what = "loss" if loss_faults else "gradient"
        batches = [ids for (_, ids), good in zip(losses, finite, strict=True) if not good or not loss_faults]
        ids = gather_object([row for batch in batches for row in batch])
        step = self.state.global_step + 1
        if self.accelerator.is_main_process:
            write_event(self._run_folder, "stop", step=step, reason=f"{what} is not finite", ids=ids)
        raise DataError(
            f"step {step}: the {what} is not finite; the batches held {', '.join(ids)}. This step did not change the"
            " adapter; look at these rows (cxr-instruct check), or lower optimizer.learning_rate, then --resume auto"
        )

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)
        self._norm = None if norm is None else float(norm)
        return norm

    def evaluate(self, *args: Any, **options: Any) -> dict[str, float]:
        """Loss on examples that are not trained on, of all and per '[Task] [Dataset]'."""
        if self._validation is None:
            return {}
        result = self._validation(self.model if self._plain else self.model_wrapped, self.accelerator)
        facts = {"step": self.adapter_step, **result}
        if self.accelerator.is_main_process:
            write_event(self._run_folder, "evaluation", **facts)
            console_evaluation(facts)
        self._evaluated = facts
        metrics = {"eval_loss": result["loss"]}
        metrics |= {f"eval_loss/{label}": part["loss"] for label, part in result["parts"].items()}
        super().log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def final_evaluation(self) -> dict[str, Any] | None:
        """The evaluation of the adapter as it is now, made if the last one was of another."""
        # Not `best_global_step`: that may be a step without a checkpoint, whose adapter is gone.
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint:
            self._best = checkpoints.step_of(Path(self.state.best_model_checkpoint))
        if self._evaluated is None or self._evaluated["step"] != self.adapter_step:
            self.evaluate()
        return self._evaluated

    @property
    def adapter_step(self) -> int:
        """Optimizer steps behind the adapter as it is now; after an early stop it is that of the best checkpoint."""
        return self._best or int(self.state.global_step)

    @property
    def _plain(self) -> bool:
        """Whether the model is whole on every process, so that it can be used outside its wrapper."""
        return not (self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add what the run gets through to the library's lines."""
        if "loss" in logs and "learning_rate" in logs:
            logs |= self._meter.read(self.accelerator)
            if self.accelerator.is_main_process:
                facts = {"step": self.state.global_step, **logs}
                write_event(self._run_folder, "train", **facts)
                console_line(facts, self.state.max_steps)
        super().log(logs, start_time)

    def _maybe_log_save_evaluate(self, *args: Any, **options: Any) -> None:
        start = time.perf_counter()
        super()._maybe_log_save_evaluate(*args, **options)
        self._meter.leave_out(start)  # evaluation, checkpoint and generation are not training

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            folder = self._run_folder / f"checkpoint-{self.state.global_step}"
            checkpoints.mark_complete(folder, self.accelerator.num_processes)
        self.accelerator.wait_for_everyone()


class _Steps(TrainerCallback):  # type: ignore[misc]
    """Calls the guard before every optimizer step."""

    def __init__(self, trainer: LoraTrainer) -> None:
        self._trainer = trainer

    def on_pre_optimizer_step(self, *args: Any, **options: Any) -> None:
        self._trainer.check_step()
