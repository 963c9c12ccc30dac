"""Mixture recipes: YAML files that say how much of which "[Task] [Dataset]" is drawn. Nothing is copied."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, model_validator

from instruct.errors import SpecError, UsageError
from instruct.model import StrictModel
from instruct.specs.recipe import load_recipe_with_places, shipped_recipes
from instruct.specs.yaml_file import Location, YamlFile

Pattern = Annotated[str, Field(min_length=1)]
Patterns = Pattern | Annotated[list[Pattern], Field(min_length=1)]

SELECTORS = ("tasks", "datasets", "tags", "configs")
AMOUNTS = ("weight", "share", "count", "repeats")


class Use(StrictModel):
    """One line of a mixture: which rows, and how many draws of them an epoch has.

    In a pattern, ``*`` stands for any letters and ``?`` for one. Of several selectors, all must fit; of several
    patterns of one selector, one. An entry takes what no entry before it has taken.
    """

    tasks: Patterns | None = Field(default=None, description="Names of tasks, such as 'Findings Generation'.")
    datasets: Patterns | None = Field(default=None, description="Names of datasets or of their sources.")
    tags: Patterns | None = Field(
        default=None,
        description="Tags: access of the source (open, registration, gated, credentialed), sources whose images or "
        "reports it reuses, and those that `tags` of the recipe defines.",
    )
    configs: Patterns | None = Field(default=None, description="'[Task] [Dataset]', or the folder of it in the build.")
    mixture: str | None = Field(
        default=None,
        description="Another mixture recipe instead of selectors: a file, relative to this one, or a shipped name. "
        "Its proportions are kept.",
    )
    weight: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Draws in proportion to weight * rows^temperature, among the entries with a weight; "
        "0 leaves the rows out. Default of an entry without an amount: 1.",
    )
    share: float | None = Field(default=None, gt=0, le=1, description="Share of all draws of an epoch.")
    count: int | None = Field(default=None, ge=1, description="Draws of an epoch.")
    repeats: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Draws of each row in an epoch; 0.5 draws every other row."
    )
    cap: int | None = Field(
        default=None, ge=1, description="Draws of an epoch that each '[Task] [Dataset]' has at most."
    )

    @property
    def amount(self) -> str:
        """Which of weight, share, count and repeats says how much."""
        return next((name for name in AMOUNTS if getattr(self, name) is not None), "weight")

    @model_validator(mode="after")
    def _one_of_each(self) -> Use:
        amounts = [name for name in AMOUNTS if getattr(self, name) is not None]
        if len(amounts) > 1:
            raise ValueError(f"{' and '.join(amounts)} contradict each other; keep one of them")
        selectors = [name for name in SELECTORS if getattr(self, name) is not None]
        if self.mixture is not None and selectors:
            raise ValueError(f"mixture takes no {' or '.join(selectors)}; select inside the other mixture")
        if self.mixture is None and not selectors:
            raise ValueError(f"selects nothing; one of {', '.join(SELECTORS)}, mixture is needed")
        return self


class SplitMixture(StrictModel):
    """What validation or test differ in."""

    use: list[Use] | None = Field(
        default=None, min_length=1, description="Entries of this split; default: the rows of the recipe, each once."
    )
    temperature: float = Field(default=1.0, ge=0, le=1, description="As in the recipe; for the split's own entries.")
    total: int | None = Field(default=None, ge=1, description="As in the recipe; for the split's own entries.")
    cap: int | None = Field(
        default=None, ge=1, description="Rows that each '[Task] [Dataset]' has at most, always the same ones."
    )

    @model_validator(mode="after")
    def _belongs_to_entries(self) -> SplitMixture:
        if self.use is None:
            for name in ("temperature", "total"):
                if name in self.model_fields_set:
                    raise ValueError(f"{name} belongs to entries of the split; add use, or take {name} away")
        elif self.cap is not None:
            raise ValueError("cap belongs to splits without entries of their own; write it into the entries of use")
        return self


class MixtureRecipe(StrictModel):
    """A mixture of built examples.

    ``use``, ``temperature`` and ``total`` are about the training split. In validation and test each row stands once,
    unless ``splits`` says otherwise.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", description="Name of the mixture.")
    data: list[Path] = Field(
        default_factory=list,
        description="Dataset folders that cxr-instruct build wrote, relative to the working directory. A nested "
        "mixture without any takes those of the one around it.",
    )
    tags: dict[str, Patterns] = Field(
        default_factory=dict, description="Tags of your own: name to tasks, '[Task] [Dataset]' or folders that have it."
    )
    use: list[Use] = Field(min_length=1, description="What is drawn.")
    temperature: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Exponent of the number of rows: 1 draws in proportion to it, 0.5 to its square root, 0 draws all "
        "'[Task] [Dataset]' alike.",
    )
    total: int | None = Field(
        default=None,
        ge=1,
        description="Draws of an epoch; default: the rows under weights and shares, each once and as far as caps "
        "allow, and the counts and repeats.",
    )
    seed: int = Field(default=0, ge=0, description="Key of the order of rows.")
    max_epochs_warn: float = Field(
        default=4.0,
        gt=0,
        description="Draws per row above which the report warns; up to four, repeated data are nearly as good as new "
        "(Muennighoff et al., 2023, arXiv:2305.16264).",
    )
    splits: dict[Literal["val", "test"], SplitMixture] = Field(
        default_factory=dict, description="What validation and test differ in."
    )
    _file: YamlFile | None = PrivateAttr(default=None)
    _at: Location = PrivateAttr(default=())

    def stands_in(self, file: YamlFile, location: Location = ()) -> None:
        """Tell a mixture where it stands, for messages and for the files that it names relative to its own."""
        self._file, self._at = file, location

    def place(self, *location: int | str) -> str:
        """``file:line:column: use.0.weight`` of a key, for messages."""
        key = ".".join(map(str, location))
        if self._file is None:
            return f"mixture {self.name!r}: {key}"
        return f"{self._file.place((*self._at, *location))}: {key}"

    def nested(self, location: Location, name: str, chain: Sequence[Path] = ()) -> tuple[MixtureRecipe, list[Path]]:
        """The mixture that an entry of this one names.

        Args:
            location: where the name stands.
            name: the file relative to this recipe's, or the name of a shipped mixture.
            chain: files of the mixtures around this one, outermost first.

        Returns:
            The mixture, with the dataset folders of this one if it names none, and the chain it stands in.

        Raises:
            SpecError: there is no such mixture, it is invalid, or it leads back to one of those around it.
        """
        chain = [*chain, self._file.path.resolve()] if self._file is not None else list(chain)
        path = self._beside(name)
        if not path.is_file():
            if name not in (known := shipped_recipes("mixture")):
                raise SpecError(
                    f"{self.place(*location)}: no such mixture: there is no file {path}, and the shipped mixtures are "
                    f"{', '.join(known)}"
                )
            path = known[name]
        if path.resolve() in chain:
            circle = [*chain[chain.index(path.resolve()) :], path]
            raise SpecError(
                f"{self.place(*location)}: a mixture cannot be part of itself: "
                + " -> ".join(file.name for file in circle)
            )
        inner = _read(path)
        if not inner.data:
            inner = inner.model_copy(update={"data": self.data})
        return inner, chain

    def standalone(self) -> MixtureRecipe:
        """The same mixture for a file in any folder: the files of others are named by their absolute paths."""
        splits = {
            name: split.model_copy(update={"use": self._named(split.use)}) if split.use else split
            for name, split in self.splits.items()
        }
        return self.model_copy(update={"use": self._named(self.use), "splits": splits})

    def _named(self, entries: Sequence[Use]) -> list[Use]:
        return [
            entry.model_copy(update={"mixture": str(path.absolute())})
            if entry.mixture is not None and (path := self._beside(entry.mixture)).is_file()
            else entry
            for entry in entries
        ]

    def _beside(self, name: str) -> Path:
        return (self._file.path.parent if self._file is not None else Path()) / name


def load_mixture_recipe(path: str | Path, overrides: Sequence[str] = ()) -> MixtureRecipe:
    """Read a mixture recipe, apply overrides and look at the mixtures it names.

    Args:
        path: a file, or the name of a shipped mixture (``mixture_demo``).
        overrides: ``key=value`` texts; dotted keys reach inside (``splits.val.cap=100``); values are YAML.

    Raises:
        SpecError: with every fault, or a mixture that leads back to itself.
        UsageError: an override is not of the form ``key=value``, or there is no such recipe.
    """
    recipe = _read(path, overrides)
    _check_nested(recipe, ())
    return recipe


def _read(path: str | Path, overrides: Sequence[str] = ()) -> MixtureRecipe:
    recipe, file = load_recipe_with_places(path, MixtureRecipe, overrides, kind="mixture")
    recipe.stands_in(file)
    return recipe


def _check_nested(recipe: MixtureRecipe, chain: Sequence[Path]) -> None:
    lists: list[tuple[Location, list[Use]]] = [(("use",), recipe.use)]
    lists += [(("splits", name, "use"), split.use) for name, split in recipe.splits.items() if split.use]
    for location, entries in lists:
        for number, entry in enumerate(entries):
            if entry.mixture is not None:
                _check_nested(*recipe.nested((*location, number, "mixture"), entry.mixture, chain))


def split_key(split: str) -> Literal["train", "val", "test"]:
    """A split by its name in recipes, given that or its name on disk (``validation``).

    Raises:
        UsageError: there is no such split.
    """
    match "val" if split == "validation" else split:
        case "train" | "val" | "test" as key:
            return key
    raise UsageError(f"split {split!r}: the splits are train, validation (or val) and test")
