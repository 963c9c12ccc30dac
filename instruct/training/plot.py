"""The loss plot of a run."""

from __future__ import annotations

from pathlib import Path

from instruct.training.log import read_log

FILE = "loss.png"


def plot_loss(run: Path, title: str) -> Path:
    """Draw the training and evaluation loss of a run from its log.

    Args:
        run: folder of the run.
        title: words above the plot.

    Returns:
        The PNG file.
    """
    from matplotlib.figure import Figure

    train = [(line["step"], line["loss"]) for line in read_log(run, "train")]
    evaluation = [(line["step"], line["loss"]) for line in read_log(run, "evaluation")]
    figure = Figure(figsize=(7, 4), layout="constrained")  # without pyplot: nothing global, no display
    axes = figure.add_subplot()
    if train:
        axes.plot(*zip(*train, strict=True), color="0.6", linewidth=1, label="training")
        window = max(len(train) // 25, 1)
        if window > 1:
            steps = [step for step, _ in train][window - 1 :]
            losses = [loss for _, loss in train]
            means = [sum(losses[end - window : end]) / window for end in range(window, len(losses) + 1)]
            axes.plot(steps, means, color="C0", label=f"training, mean of {window} lines")
    if evaluation:
        axes.plot(*zip(*evaluation, strict=True), color="C1", marker="o", markersize=4, label="evaluation")
    axes.set(xlabel="optimizer step", ylabel="loss per supervised token", title=title)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if train or evaluation:
        axes.legend()
    file = run / FILE
    figure.savefig(file, dpi=120, metadata={"Software": None})
    return file
