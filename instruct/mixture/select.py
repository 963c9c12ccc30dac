"""What the dataset folders of a mixture hold, by their manifests, and which of it a pattern means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from instruct.build.output import SPLIT_NAMES
from instruct.build.verify import read_manifest
from instruct.digest import digest_json
from instruct.errors import DataError, SpecError, UsageError
from instruct.mixture.recipe import SELECTORS, MixtureRecipe, Use
from instruct.specs.yaml_file import Location


@dataclass(frozen=True)
class Held:
    """What a build holds of one "[Task] [Dataset]" in one split; nothing, where its source was not on disk.

    Attributes:
        folder: the dataset folder.
        config: the configuration's folder inside it.
        label: ``[Task] [Dataset]``.
        names: selector (``tasks`` …) to the names that its patterns are held against.
        split: ``train``, ``validation`` or ``test``.
        size: rows.
        shards: file below the folder, rows and bytes of each shard.
        digest: of the shards' content.
        image_roots: source to the folder of its images, where paths are relative.
        image_tables: source to the shards of its images table, where the build packed them.
    """

    folder: Path
    config: str
    label: str
    names: Mapping[str, frozenset[str]]
    split: str
    size: int
    shards: tuple[tuple[str, int, int], ...]
    digest: str
    image_roots: dict[str, str]
    image_tables: dict[str, tuple[str, ...]]

    @property
    def key(self) -> tuple[Path, str]:
        """What tells it from others of its split."""
        return self.folder, self.config


class Shelf:
    """The dataset folders of a mixture and of those nested in it; each manifest is read once.

    Args:
        split: ``train``, ``val`` or ``test``.
    """

    def __init__(self, split: Literal["train", "val", "test"]) -> None:
        self.split = split
        self._held: dict[Path, list[Held]] = {}

    def held(self, recipe: MixtureRecipe) -> list[Held]:
        """What the recipe's folders hold, by label, folder and configuration.

        Raises:
            SpecError: the recipe names no folder.
            UsageError: a folder is no finished build.
            DataError: two folders hold the same shards.
        """
        if not recipe.data:
            raise SpecError(
                f"{recipe.place('data')}: names no dataset folder; write the --out of a build there, or data=[OUT] "
                "behind the recipe's name"
            )
        found = []
        for number, folder in enumerate(dict.fromkeys(path.absolute() for path in recipe.data)):
            if folder not in self._held:
                try:
                    self._held[folder] = _read(folder, self.split)
                except UsageError as error:
                    raise UsageError(f"{recipe.place('data', number)}: {error}") from None
            found += self._held[folder]
        owners: dict[tuple[str, str], Held] = {}
        for item in found:
            twin = owners.setdefault((item.config, item.digest), item)
            if item.size and twin.folder != item.folder:
                raise DataError(
                    f"{recipe.place('data')}: {twin.folder} and {item.folder} hold the same shards of {item.label}; "
                    "each row would be drawn twice. Take one of the folders away"
                )
        return sorted(found, key=lambda item: item.label)


def _read(folder: Path, split: str) -> list[Held]:
    manifest = read_manifest(folder)
    images = manifest["recipe"]["images"]
    relative = images["paths"] == "relative" and images.get("store", "reference") == "reference"
    tables = manifest["images"]["sources"] if images.get("store") == "pack" else {}
    pixels = [[shard["sha256"] for shard in table["shards"]] for _, table in sorted(tables.items())]
    held = []
    for task in manifest["tasks"]:
        shards: Sequence[Mapping[str, Any]] = task["splits"].get(split, {}).get("shards", ())
        source = manifest["sources"].get(task["source"], {})
        names = {
            "tasks": {task["task"]},
            "datasets": {task["dataset"], task["source"]},
            "tags": {source.get("access", "unknown"), *source.get("upstream", ())},
            "configs": {task["name"], task["config"]},
        }
        held.append(
            Held(
                folder=folder,
                config=task["config"],
                label=task["name"],
                names={selector: frozenset(values) for selector, values in names.items()},
                split=SPLIT_NAMES[split],
                size=sum(shard["examples"] for shard in shards),
                shards=tuple((shard["file"], shard["examples"], shard["bytes"]) for shard in shards),
                digest=digest_json([[shard["sha256"] for shard in shards], pixels]),
                image_roots=manifest["image_roots"] if relative else {},
                image_tables={
                    name: tuple(shard["file"] for shard in table["shards"]) for name, table in tables.items()
                },
            )
        )
    return held


def select(recipe: MixtureRecipe, entries: Sequence[tuple[Location, Use]], held: Sequence[Held]) -> list[list[Held]]:
    """What each entry selects; what an entry before it has taken, it does not take.

    Args:
        recipe: the recipe.
        entries: entries with where they stand in the recipe; those that name a mixture select nothing.
        held: what its folders hold.

    Raises:
        SpecError: a pattern fits nothing, or an entry has nothing left; with every such fault.
    """
    problems: list[str] = []
    tags = {item.key: set(item.names["tags"]) for item in held}
    for tag, patterns in recipe.tags.items():
        for item in _fitting(recipe, ("tags", tag), patterns, held, ("tasks", "configs"), None, problems):
            tags[item.key].add(tag)
    taken: set[tuple[Path, str]] = set()
    chosen: list[list[Held]] = []
    for location, entry in entries:
        before = len(problems)
        fitting = list(held)
        for selector in SELECTORS:
            patterns = getattr(entry, selector)
            if patterns is not None:
                own = tags if selector == "tags" else None
                fits = _fitting(recipe, (*location, selector), patterns, held, (selector,), own, problems)
                keys = {item.key for item in fits}
                fitting = [item for item in fitting if item.key in keys]
        left = [item for item in fitting if item.key not in taken] if entry.mixture is None else []
        if entry.mixture is None and not left and len(problems) == before:
            why = (
                "entries before it have taken all that it selects"
                if fitting
                else "its selectors have nothing in common"
            )
            problems.append(f"{recipe.place(*location)}: selects nothing: {why}")
        taken |= {item.key for item in left}
        chosen.append(left)
    if problems:
        raise SpecError(problems)
    return chosen


def _fitting(
    recipe: MixtureRecipe,
    location: Location,
    patterns: str | list[str],
    held: Sequence[Held],
    selectors: Iterable[str],
    tags: Mapping[tuple[Path, str], set[str]] | None,
    problems: list[str],
) -> list[Held]:
    """What fits one of the patterns; a pattern that fits nothing is a problem."""
    names = {
        item.key: tags[item.key] if tags is not None else {name for kind in selectors for name in item.names[kind]}
        for item in held
    }
    fits: dict[tuple[Path, str], Held] = {}
    for number, pattern in enumerate([patterns] if isinstance(patterns, str) else patterns):
        regex = re.compile(".*".join(map(_one_letter, pattern.split("*"))), re.DOTALL)
        found = [item for item in held if any(regex.fullmatch(name) for name in names[item.key])]
        fits |= {item.key: item for item in found}
        if not found:
            known = sorted({name for values in names.values() for name in values})
            near = get_close_matches(pattern, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            where = location if isinstance(patterns, str) else (*location, number)
            problems.append(f"{recipe.place(*where)}: nothing in the dataset folders fits {pattern!r}; {hint}")
    return list(fits.values())


def _one_letter(text: str) -> str:
    return ".".join(map(re.escape, text.split("?")))
