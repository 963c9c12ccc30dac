"""The index of a mixture: which rows of which built shards are drawn how often. No shard is opened for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from operator import add
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instruct.build.output import SPLIT_NAMES
from instruct.digest import digest_json
from instruct.errors import DataError
from instruct.mixture.amounts import Claim, allot
from instruct.mixture.recipe import MixtureRecipe, SplitMixture, split_key
from instruct.mixture.select import Held, Shelf, select
from instruct.specs.yaml_file import Location
from instruct.synth.keyed import Draws
from instruct.synth.quota import choose

# Changes when the same index would mean another order of rows.
_FORMAT = 1


@dataclass(frozen=True)
class Part:
    """The rows of one "[Task] [Dataset]" in one build.

    Attributes:
        label: ``[Task] [Dataset]``.
        folder: the dataset folder.
        config: the configuration's folder inside it.
        split: ``train``, ``validation`` or ``test``, as on disk.
        size: rows of the shards.
        rows: numbers of the rows that may be drawn, ascending; None for all.
        draws: draws of an epoch of the mixture.
        weight: share of this part in all draws, 0-1.
        shards: files below ``folder``, in order, each with the rows and bytes that it must have.
        digest: of the shards' content.
        image_roots: source to the folder that its image paths are relative to; empty where they are absolute.
        image_tables: source to the shards of its images table, below ``folder``; empty where rows refer to files.
    """

    label: str
    folder: Path
    config: str
    split: str
    size: int
    rows: NDArray[np.int64] | None
    draws: int
    weight: float
    shards: tuple[tuple[str, int, int], ...] = ()
    digest: str = ""
    image_roots: dict[str, str] = field(default_factory=dict)
    image_tables: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def candidates(self) -> NDArray[np.int64]:
        """Numbers of the rows that may be drawn."""
        return np.arange(self.size, dtype=np.int64) if self.rows is None else self.rows


@dataclass(frozen=True)
class MixtureIndex:
    """What a mixture draws from one split.

    Attributes:
        parts: ordered by label and configuration; parts without rows or draws are kept, with 0.
        split: ``train``, ``validation`` or ``test``.
        seed: key of the order of rows.
        digest: of everything that decides which rows are drawn and in which order: shards by their digests, draws,
            seed. Where the folders lie makes no difference.
    """

    parts: tuple[Part, ...]
    split: str
    seed: int
    digest: str

    def __len__(self) -> int:
        """Draws of an epoch."""
        return sum(part.draws for part in self.parts)


def build_index(recipe: MixtureRecipe, split: str = "train") -> MixtureIndex:
    """Count out what a mixture draws; takes the time to read the builds' manifests.

    Args:
        recipe: the mixture.
        split: ``train``, ``validation`` (or ``val``) or ``test``.

    Raises:
        SpecError: a pattern fits nothing, an entry has nothing left, or the amounts cannot be met.
        UsageError: a folder of ``data`` is no finished build, or there is no such split.
        DataError: two folders of ``data`` hold the same shards, or there is nothing to draw.
    """
    key = split_key(split)
    shelf = Shelf(key)
    mixed = _mix(recipe, shelf, ())
    total = sum(portion.draws for portion in mixed)
    if total == 0:
        raise DataError(
            f"{recipe.place('use')}: there is nothing to draw in split {split}: what is selected has no rows"
        )
    parts = tuple(
        Part(
            label=portion.held.label,
            folder=portion.held.folder,
            config=portion.held.config,
            split=portion.held.split,
            size=portion.held.size,
            rows=portion.rows,
            draws=portion.draws,
            weight=portion.draws / total,
            shards=portion.held.shards,
            digest=portion.held.digest,
            image_roots=portion.held.image_roots,
            image_tables=portion.held.image_tables,
        )
        for portion in sorted(mixed, key=lambda portion: (portion.held.label, portion.held.digest))
    )
    content = [
        [part.label, part.digest, part.draws, None if part.rows is None else part.rows.tolist()]
        for part in parts
        if part.draws
    ]
    return MixtureIndex(parts, SPLIT_NAMES[key], recipe.seed, digest_json([_FORMAT, recipe.seed, content]))


@dataclass(frozen=True)
class _Portion:
    """Draws of an epoch from what is held, and the rows they are limited to."""

    held: Held
    draws: int
    rows: NDArray[np.int64] | None = None


def _mix(recipe: MixtureRecipe, shelf: Shelf, chain: Sequence[Path]) -> list[_Portion]:
    """The portions of a mixture; several ways to the same rows add up."""
    own = recipe if shelf.split == "train" else recipe.splits.get(shelf.split) or SplitMixture()
    base: Location = () if own is recipe or own.use is None else ("splits", shelf.split)
    uses = own.use or recipe.use
    entries = [((*base, "use", number), entry) for number, entry in enumerate(uses)]
    # A mixture of nothing but mixtures that name their folders needs none itself.
    held = shelf.held(recipe) if recipe.data or any(entry.mixture is None for entry in uses) else []
    selected = iter(select(recipe, entries, held))
    portions = []
    for location, entry in entries:
        chosen = [_Portion(held, held.size) for held in next(selected)]
        if entry.mixture is not None:
            chosen = _mix(*_nested(recipe, (*location, "mixture"), entry.mixture, shelf, chain))
        portions.append(chosen)
    if isinstance(own, SplitMixture) and own.use is None:
        kept = [chosen for chosen, entry in zip(portions, uses, strict=True) if entry.weight != 0]
        return [_once(portion, own.cap, recipe.seed) for portion in _merged(kept, max)]
    claims = [
        Claim(recipe.place(*location), entry, [portion.draws for portion in chosen])
        for (location, entry), chosen in zip(entries, portions, strict=True)
    ]
    place = recipe.place(*base, "total") if own.total is not None else recipe.place(*base, "use")
    drawn = allot(claims, own.temperature, own.total, place)
    return _merged(
        [
            [replace(portion, draws=draws) for portion, draws in zip(chosen, given, strict=True)]
            for chosen, given, entry in zip(portions, drawn, uses, strict=True)
            if entry.weight != 0
        ],
        add,
    )


def _nested(
    recipe: MixtureRecipe, location: Location, name: str, shelf: Shelf, chain: Sequence[Path]
) -> tuple[MixtureRecipe, Shelf, list[Path]]:
    inner, chain = recipe.nested(location, name, chain)
    return inner, shelf, chain


def _merged(portions: Sequence[Sequence[_Portion]], combine: Callable[[int, int], int]) -> list[_Portion]:
    merged: dict[tuple[Path, str], _Portion] = {}
    for portion in (item for some in portions for item in some):
        before = merged.get(portion.held.key)
        if before is not None:
            limits = None if before.rows is None or portion.rows is None else np.union1d(before.rows, portion.rows)
            portion = _Portion(portion.held, combine(before.draws, portion.draws), limits)
        merged[portion.held.key] = portion
    return list(merged.values())


def _once(portion: _Portion, cap: int | None, seed: int) -> _Portion:
    """At most so many of the rows, chosen by hash: always the same ones."""
    if cap is None or portion.draws <= cap:
        return portion
    candidates = np.arange(portion.held.size, dtype=np.int64) if portion.rows is None else portion.rows
    rows = choose(Draws(seed, "mixture", portion.held.label), "cap", candidates, cap)
    return _Portion(portion.held, cap, np.sort(rows))
