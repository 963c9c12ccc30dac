"""Recipes: YAML files that say what to build. Values can be overridden on the command line as ``key=value``."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from instruct.errors import SpecError, UsageError
from instruct.model import StrictModel
from instruct.resources import shipped
from instruct.specs.yaml_file import YamlFile, load_value, load_yaml


class SourceChoice(StrictModel):
    """A source of a recipe."""

    root: Path | None = Field(default=None, description="Folder of the source; default: found below --data-root.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the source's reader.")


class Images(StrictModel):
    """How a build treats images."""

    missing: Literal["keep", "drop"] = Field(
        default="keep",
        description="An image that is not on disk: keep refers to it all the same and counts it; drop leaves it out, "
        "and the record too where none is left or the task needs them all.",
    )
    check: Literal["exists", "decode"] = Field(
        default="exists", description="exists looks for the file; decode also decodes every image once (slow)."
    )
    paths: Literal["absolute", "relative"] = Field(
        default="absolute",
        description="absolute paths open from anywhere; relative ones are below the root the manifest records.",
    )


class Recipe(StrictModel):
    """A build recipe."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_.-]*$", description="Name of the build; an output folder keeps to one."
    )
    sources: dict[str, SourceChoice] = Field(min_length=1, description="Sources to build from.")
    tasks: Literal["all"] | list[str] = Field(
        default="all", description="Tasks to build, by '[Task] [Dataset]' or folder name; default: all of the sources."
    )
    seed: int = Field(default=0, ge=0, description="Key of every choice that is made by hash.")
    variants: Literal["all"] | Annotated[int, Field(ge=1)] = Field(
        default=1, description="Template variants per record: a number, or all."
    )
    images: Images = Field(default_factory=Images)
    dialect: Literal["thousand", "unit", "json", "pixels", "tags", "paligemma"] = Field(
        default="thousand",
        description="How boxes and masks are printed: integers 0-1000, numbers 0-1, JSON with integers 0-1000, pixels, "
        "CheXagent's tags with integers 0-100, PaliGemma's location tokens.",
    )
    mentions_change: Literal["substring", "word"] = Field(
        default="substring",
        description="Which text speaks of change, for progression tasks: the published substring rule, or whole words "
        "only, without degenerative change and the like.",
    )
    shard_rows: int = Field(default=20_000, ge=1, description="Records per shard.")
    max_bad: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of a task's records that may be quarantined before the build fails.",
    )


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply overrides.

    Args:
        path: a file, or the name of a shipped recipe (``demo``).
        overrides: ``key=value`` texts; dotted keys reach inside (``images.missing=drop``); values are YAML.

    Raises:
        SpecError: with every fault.
        UsageError: an override is not of the form ``key=value``, or there is no such recipe.
    """
    file = load_yaml(_find(path))
    recipe_keys = set(file.data) if isinstance(file.data, dict) else set()
    data = file.data
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key:
            raise UsageError(f"override {override!r} is not of the form key=value")
        data = _set(data, key.split("."), load_value(value))
    if overrides:
        file = YamlFile(
            file.path, data, {place: at for place, at in file._places.items() if set(place[:1]) <= recipe_keys}
        )
    try:
        return file.validate(Recipe)
    except SpecError as error:
        if overrides:
            error = SpecError([*error.problems, f"(with overrides: {' '.join(overrides)})"])
        raise error from None


def _find(path: str | Path) -> Path:
    if Path(path).is_file():
        return Path(path)
    recipes = {file.stem: file for file in sorted(shipped("recipes").glob("*.yaml"))}
    if str(path) in recipes:
        return recipes[str(path)]
    near = get_close_matches(str(path), recipes, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"{path}: no such recipe file.{hint} Shipped recipes: {', '.join(recipes)}")


def _set(data: Any, keys: list[str], value: Any) -> Any:
    data = dict(data) if isinstance(data, dict) else {}
    data[keys[0]] = _set(data.get(keys[0]), keys[1:], value) if len(keys) > 1 else value
    return data
