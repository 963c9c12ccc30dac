"""A mixture as a dataset of Hugging Face ``datasets``, for a trainer of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from instruct.build.schema import shard_schema
from instruct.errors import DataError, UsageError
from instruct.mixture.index import MixtureIndex, build_index
from instruct.mixture.order import epoch_order
from instruct.mixture.recipe import MixtureRecipe, load_mixture_recipe
from instruct.mixture.rows import PartRows, open_rows

if TYPE_CHECKING:
    import datasets


def load_mixture(
    recipe: MixtureRecipe | str | Path,
    split: str = "train",
    *,
    streaming: bool = False,
    start: int = 0,
    digest: str | None = None,
) -> datasets.Dataset | datasets.IterableDataset:
    """An epoch of a mixture, in its order. Rows stay in the build's shards, which are mapped into memory.

    The order is a function of the index and the position alone. To go on where a run stopped, give the rows that all
    its processes together have seen: ``load_mixture(recipe, start=seen, digest=digest)``.

    Among processes, the order is kept by who takes every world-th row: with ``streaming``,
    ``datasets.distributed.split_dataset_by_node``; without, a sampler such as PyTorch's
    ``DistributedSampler(shuffle=False)``. (Of a ``Dataset``, ``split_dataset_by_node`` gives each process one
    contiguous piece: all rows come, in another order.) A stream is one series, so only one worker of a
    ``DataLoader`` reads it; a ``Dataset`` has work for all.

    Args:
        recipe: the mixture, its file, or the name of a shipped one.
        split: ``train``, ``validation`` (or ``val``) or ``test``.
        streaming: whether to give an ``IterableDataset`` instead of a ``Dataset``.
        start: rows seen so far, over all epochs: the dataset is what is left of the epoch that this falls into.
        digest: the index digest (``build_index(recipe, split).digest``) of the run that ``start`` was counted in.

    Raises:
        UserError: as :func:`instruct.mixture.index.build_index`.
        DataError: the mixture is not the one of ``digest``; or a shard is not the one that the build wrote.
        UsageError: ``datasets`` is not installed; ``start`` is negative; or a ``Dataset`` is asked for of a build whose
            images are packed, which only a stream can fetch.
    """
    try:
        import datasets
    except ImportError:
        raise UsageError("a mixture is loaded with the package datasets: pip install 'cxr-instruct[hf]'") from None
    if start < 0:
        raise UsageError(f"start={start}: the rows seen so far are 0 or more")
    mixture = recipe if isinstance(recipe, MixtureRecipe) else load_mixture_recipe(recipe)
    index = build_index(mixture, split)
    if digest is not None and digest != index.digest:
        raise DataError(
            f"mixture {mixture.name!r}: its index digest is {index.digest[:16]}…, not {digest[:16]}…: the recipe or "
            "the data have changed, so a position in the other one means nothing here. Start again, or restore them"
        )
    features = datasets.Features.from_arrow_schema(shard_schema())
    if streaming:
        return datasets.IterableDataset.from_generator(
            _stream, features=features, gen_kwargs={"index": index, "start": start}, split=datasets.Split(index.split)
        )
    for part in index.parts:
        if part.draws and part.image_tables:
            raise UsageError(
                f"{part.folder}: its images are packed (images.store=pack), and a Dataset cannot fetch them: ask for "
                "streaming=True, or build with images.store=embed"
            )
    rows = {number: open_rows(part) for number, part in enumerate(index.parts) if part.draws}
    held = [piece for some in rows.values() for piece in _mapped(some)]
    offsets = np.zeros(len(index.parts), np.int64)
    offsets[list(rows)] = np.cumsum([0, *(len(some) for some in rows.values())])[:-1]
    parts, numbers = _left(index, start)
    return datasets.concatenate_datasets(held).select(offsets[parts] + numbers)


def _left(index: MixtureIndex, start: int) -> tuple[Any, Any]:
    """Part and row of what is left of the epoch that a position falls into."""
    epoch, position = divmod(start, len(index))
    part, row = epoch_order(index, epoch)
    return part[position:], row[position:]


def _stream(index: MixtureIndex, start: int) -> Iterator[dict[str, Any]]:
    rows: dict[int, PartRows] = {}
    for part, row in zip(*(array.tolist() for array in _left(index, start)), strict=True):
        if part not in rows:
            rows[part] = open_rows(index.parts[part])
        yield rows[part][row]


def _mapped(rows: PartRows) -> list[datasets.Dataset]:
    """The shards of a part, as datasets that pickle by file name; image paths absolute."""
    import datasets

    shards = [datasets.Dataset.from_file(str(rows.part.folder / name)) for name, _, _ in rows.part.shards]
    if not rows.part.image_roots:
        return shards
    whole = datasets.concatenate_datasets(shards)
    images = whole.features["images"]
    joined = whole.remove_columns("images").add_column("images", rows.absolute_images(), feature=images)
    return [joined.select_columns(whole.column_names)]
