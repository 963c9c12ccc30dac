"""The Python door: what the command line does, as functions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from instruct.build.build import BuildResult, build
from instruct.build.execute import make_executor
from instruct.build.tell import Listener
from instruct.reports.card import write_reports
from instruct.specs.recipe import Recipe, load_recipe

__all__ = ["build_dataset", "load_recipe"]


def build_dataset(
    recipe: Recipe | str | Path,
    out: str | Path,
    *,
    data_root: str | Path | None = None,
    workers: int = 1,
    executor: Literal["local", "ray"] = "local",
    address: str | None = None,
    pieces: Sequence[str | Path] | None = None,
    specs: Sequence[str | Path] = (),
    listener: Listener | None = None,
) -> BuildResult:
    """Build a recipe into a dataset folder with its count table.

    Args:
        recipe: a recipe, its file, or the name of a shipped one.
        out: the output folder; an earlier build of the same recipe in it is continued.
        data_root: folder below which the sources lie.
        workers: processes that render; no number of them changes a byte.
        executor: ``local``, or ``ray`` for a Ray cluster.
        address: of the Ray cluster; default: ``$RAY_ADDRESS``, or a cluster of this machine with as many workers.
        pieces: folders of pieces (``cxr-instruct build --shard``) to gather, perhaps none beside the output folder;
            then nothing is made here that pieces make.
        specs: folders with more task specs and templates.
        listener: told of every step, as a dict.

    Raises:
        instruct.errors.UserError: see :func:`instruct.build.build.build`.
    """
    return build(
        recipe if isinstance(recipe, Recipe) else load_recipe(recipe),
        Path(out),
        data_root=Path(data_root) if data_root is not None else None,
        executor=make_executor(executor, workers, address),
        pieces=[Path(folder) for folder in pieces] if pieces is not None else None,
        spec_folders=[Path(folder) for folder in specs],
        finish=write_reports,
        listener=listener,
    )
