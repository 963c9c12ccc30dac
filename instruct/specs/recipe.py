"""Recipes: YAML files that say what to build. Values can be overridden on the command line as ``key=value``."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, model_validator

from instruct.errors import SpecError, UsageError
from instruct.model import StrictModel
from instruct.resources import shipped
from instruct.specs.yaml_file import YamlFile, load_value, load_yaml

_Recipe = TypeVar("_Recipe", bound=StrictModel)


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
    store: Literal["reference", "pack", "embed"] = Field(
        default="reference",
        description="reference: rows hold paths of the published images. pack: every image is resized and encoded once "
        "into a table of its source, and rows refer to it. embed: rows hold the resized images themselves.",
    )
    fit: Literal["short", "long", "square"] = Field(
        default="short",
        description="pack and embed: which side gets the size; square pads the other with black. Nothing is enlarged.",
    )
    size: int = Field(default=512, ge=16, le=8192, description="pack and embed: length of that side in pixels.")
    encoding: Literal["jpeg", "png"] = Field(
        default="jpeg", description="pack and embed: grey JPEG of quality 95, or grey PNG, which loses nothing."
    )
    backend: Literal["pillow", "fast"] = Field(
        default="pillow", description="pack and embed: fast needs the [fast] extra, and gives slightly other pixels."
    )
    links: Literal["refuse", "follow"] = Field(
        default="refuse",
        description="pack and embed: an image that is a symbolic link out of its source's folder is left out, or read.",
    )

    @model_validator(mode="after")
    def _stores_what_is_there(self) -> Images:
        if self.store != "reference" and self.missing == "keep":
            raise ValueError(f"store: {self.store} needs missing: drop; an image that is not on disk cannot be stored")
        return self


class AuditException(StrictModel):
    """A finding of the leakage audit that is accepted, and why."""

    between: list[str] = Field(
        min_length=1,
        max_length=2,
        description="The dataset of the finding and what it overlaps: a dataset, a protected set, or the source whose "
        "official split it leaves. One name: within that dataset.",
    )
    checks: list[Literal["protected", "official_split", "patient", "study", "image", "text", "pixels"]] = Field(
        default_factory=list, description="Kinds of findings; default: all."
    )
    reason: str = Field(min_length=10, description="Why it is accepted; the card prints it.")


class Recipe(StrictModel):
    """A build recipe."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_.-]*$", description="Name of the build; an output folder keeps to one."
    )
    sources: dict[str, SourceChoice] = Field(
        min_length=1, description="Sources to build from; the key all stands for those of every spec."
    )
    tasks: Literal["all"] | Annotated[list[str], Field(min_length=1)] = Field(
        default="all", description="Tasks to build, by '[Task] [Dataset]' or folder name; default: all of the sources."
    )
    seed: int = Field(default=0, ge=0, description="Key of every choice that is made by hash.")
    variants: Literal["all"] | Annotated[int, Field(ge=1)] = Field(
        default=1, description="Template variants per record: a number, never more than the template has, or all."
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
    shard_rows: int = Field(default=20_000, ge=1, le=1_000_000, description="Records per shard.")
    max_bad: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of a task's records that may be quarantined before the build fails.",
    )
    audit: Literal["fail", "warn", "off"] = Field(
        default="warn",
        description="Look for patients, studies and images in two splits, and for protected evaluation sets in train, "
        "before the build is finished: fail stops it, warn tells, off does not look.",
    )
    audit_exceptions: list[AuditException] = Field(default_factory=list, description="Findings that are accepted.")
    splits: dict[str, Literal["follow_upstream", "drop_leaks"]] = Field(
        default_factory=dict,
        description="Dataset to what is done with its leaks. follow_upstream: a record gets the split that its study "
        "has in the source it was taken from. drop_leaks: a record of train or val is left out if a better protected "
        "split of any row has its patient, study or image, one of train also if a protected evaluation set has.",
    )
    leave_out: list[str] = Field(
        default_factory=list,
        description="Patients, studies and images (source/key, as the audit names them) whose records are left out of "
        "train and val.",
    )

    @model_validator(mode="after")
    def _all_is_no_source(self) -> Recipe:
        if self.sources.get("all", SourceChoice()) != SourceChoice():
            raise ValueError("sources.all stands for every source; give root and options under a source's name")
        return self

    @property
    def choices(self) -> dict[str, SourceChoice]:
        """The sources that are chosen by name."""
        return {name: choice for name, choice in self.sources.items() if name != "all"}

    def takes(self, source: str) -> bool:
        """Whether rows of a source are built."""
        return source in self.sources or "all" in self.sources


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply overrides.

    Args:
        path: a file, or the name of a shipped recipe (``demo``).
        overrides: ``key=value`` texts; dotted keys reach inside (``images.missing=drop``); values are YAML.

    Raises:
        SpecError: with every fault.
        UsageError: an override is not of the form ``key=value``, or there is no such recipe.
    """
    return load_recipe_with_places(path, Recipe, overrides, kind="build")[0]


def shipped_recipes(kind: str) -> dict[str, Path]:
    """The shipped recipes of a kind: name to file.

    Args:
        kind: ``build``, or ``mixture`` or ``lora``, with which the names of the others begin.
    """
    files = {file.stem: file for file in sorted(shipped("recipes").glob("*.yaml"))}
    return {name: file for name, file in files.items() if recipe_kind(name) == kind}


def recipe_kind(name: str) -> str:
    """The kind of recipe that a file name tells: ``mixture_*``, ``lora_*``, anything else is a build recipe."""
    return next((kind for kind in ("mixture", "lora") if name.startswith(f"{kind}_")), "build")


def load_recipe_with_places(
    path: str | Path, model: type[_Recipe], overrides: Sequence[str] = (), *, kind: str
) -> tuple[_Recipe, YamlFile]:
    """Read a recipe of any kind as :func:`load_recipe` does, and its file, which knows where each value stands.

    Args:
        path: a file, or the name of a shipped recipe of the kind.
        model: what the recipe must be.
        overrides: ``key=value`` texts.
        kind: as in :func:`shipped_recipes`.
    """
    file = load_yaml(_find(path, kind))
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
        return file.validate(model), file
    except SpecError as error:
        if overrides:
            error = SpecError([*error.problems, f"(with overrides: {' '.join(overrides)})"])
        raise error from None


def _find(path: str | Path, kind: str) -> Path:
    if Path(path).is_file():
        return Path(path)
    recipes = shipped_recipes(kind)
    if str(path) in recipes:
        return recipes[str(path)]
    near = get_close_matches(str(path), recipes, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"{path}: no such recipe file.{hint} Shipped recipes: {', '.join(recipes)}")


def _set(data: Any, keys: list[str], value: Any) -> Any:
    data = dict(data) if isinstance(data, dict) else {}
    data[keys[0]] = _set(data.get(keys[0]), keys[1:], value) if len(keys) > 1 else value
    return data
