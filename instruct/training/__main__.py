"""``accelerate launch -m instruct.training RECIPE [key=value …]``: a training run, on every process it starts."""

from __future__ import annotations

import os
import sys

import click

from instruct.errors import UserError


@click.command("train")
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--resume",
    metavar="auto|CHECKPOINT",
    help="Continue a run: from its newest complete checkpoint if it has one, or from a checkpoint's folder.",
)
def command(recipe: str, overrides: tuple[str, ...], resume: str | None) -> None:
    """Train a LoRA adapter by RECIPE (a file, or a shipped name such as lora_tiny).

    Several GPUs or nodes: accelerate launch -m instruct.training RECIPE, with the same arguments.
    """
    from instruct.training.recipe import load_training_recipe
    from instruct.training.run import train

    train(load_training_recipe(recipe, overrides), resume)


def main() -> None:
    """Run the command; a user's mistake ends in a message and an exit code."""
    rank = f"[process {os.environ['RANK']}] " if int(os.environ.get("WORLD_SIZE", "1")) > 1 else ""
    try:
        command.main(prog_name="python -m instruct.training", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except UserError as error:
        for line in str(error).splitlines():
            click.echo(f"{rank}error: {line}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"{rank}interrupted; checkpoints are kept, --resume auto continues", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
