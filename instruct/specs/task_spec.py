"""Task specs: one YAML file per source, saying which records make which task and which template words them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from instruct.errors import SpecError, UsageError
from instruct.model import StrictModel
from instruct.resources import shipped
from instruct.sources import source_names
from instruct.specs.yaml_file import YamlFile, parse_yaml, read_text

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Task(StrictModel):
    """One task of a source: a row of the count table."""

    task: str = Field(min_length=1, description="Name of the task, as printed in the count table.")
    template: str = Field(
        pattern=r"^[a-z0-9_]+$", description="Template that words the records: the file templates/<template>.jinja."
    )
    records: str = Field(
        min_length=1,
        description="SQL query over the source's tables, one row per record, with the columns of the record contract "
        "(id, split, patient, studies, images, origin) and those the template reads.",
    )
    needs: list[str] = Field(
        default_factory=list,
        description="Optional files of the source that this task cannot do without, by their names in the reader; "
        "without them on disk the task is absent.",
    )
    rule: str = Field(default="", description="How examples are selected and counted, for the documentation.")
    differs: str = Field(default="", description="Where and why our numbers differ from the published ones.")
    expect: dict[Split, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict, description="Examples per split that the publisher's full release should give."
    )


class About(StrictModel):
    """What is known of a published dataset, for the card and the terms guard."""

    agreement: str = Field(description="Its terms: a name in instruct/specs/data/agreements.yaml.")
    deidentification: str = Field(min_length=1, description="What was done to protect the patients.")
    labels: str = Field(min_length=1, description="Where texts and labels come from.")
    people: str = Field(min_length=1, description="Who the patients are, and what of that is given.")
    citations: list[str] = Field(min_length=1, description="Keys of its entries in instruct/specs/data/citations.bib.")


class TaskSpec(StrictModel):
    """A task spec file."""

    source: str = Field(pattern=r"^[a-z0-9_]+$", description="Source whose tables the queries read.")
    dataset: str = Field(min_length=1, description="Name of the dataset, as printed in the count table.")
    access: Literal["open", "registration", "gated", "credentialed"] = Field(
        description="How one gets the source: open download, free registration, gated by an agreement, credentialed."
    )
    licence: str = Field(min_length=1, description="Licence or data use agreement.")
    namespace: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9_]+$",
        description="Source that the patients, studies and images belong to, where it is another one (an MS-CXR phrase "
        "is about a MIMIC-CXR image). Default: the spec's source.",
    )
    reads: list[str] = Field(
        default_factory=list,
        description="Other sources whose tables the queries use, as <source>.<table>; without them on disk the tasks "
        "are absent.",
    )
    upstream: list[str] = Field(
        default_factory=list,
        description="Sources whose images or reports this one reuses; the leakage audit follows them.",
    )
    about: About | None = Field(
        default=None, description="What is known of the dataset; once, where a source has several specs."
    )
    tasks: list[Task] = Field(min_length=1)


@dataclass(frozen=True)
class TaskEntry:
    """A task of a spec, with where it stands: what lint checks and a build compiles.

    Attributes:
        spec: the spec.
        task: the task.
        file: the spec file, for positions.
        index: position of the task in the spec.
    """

    spec: TaskSpec
    task: Task
    file: YamlFile
    index: int

    @property
    def name(self) -> str:
        """``[Task] [Dataset]``: the row's name in the count table."""
        return f"[{self.task.task}] [{self.spec.dataset}]"

    @property
    def config(self) -> str:
        """Name of the task's configuration and folder in a build, such as ``findings_generation-openi``."""
        return f"{slug(self.task.task)}-{slug(self.spec.dataset)}"

    @property
    def namespace(self) -> str:
        """Source that the record's keys belong to."""
        return self.spec.namespace or self.spec.source

    def place(self, key: str = "task") -> str:
        """``file:line:column`` of a key of the task."""
        return self.file.place(("tasks", self.index, key))

    def query_place(self, line: int = 1) -> str:
        """The same of a line of the query; a block text starts below its key."""
        path, row, column = self.place("records").rsplit(":", 2)
        below = line if "\n" in self.task.records else 0
        return f"{path}:{int(row) + below}:{column if not below else 1}"


def slug(name: str) -> str:
    """Lower-case form of a name, with underscores for everything that is no letter or digit."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def load_task_spec(path: Path) -> list[TaskEntry]:
    """The tasks of a spec file.

    Raises:
        SpecError: with every fault of the file.
    """
    return list(_tasks(path, read_text(path)))


@lru_cache(maxsize=256)
def _tasks(path: Path, text: str) -> tuple[TaskEntry, ...]:
    """The tasks of a spec's text, kept: one command asks several times for all of them."""
    file = parse_yaml(path, text)
    spec = file.validate(TaskSpec)
    return tuple(TaskEntry(spec, task, file, index) for index, task in enumerate(spec.tasks))


def load_task_specs(folders: Iterable[Path] = ()) -> list[TaskEntry]:
    """The tasks of the shipped specs and of a user's folders, ordered by file name, then as they stand.

    Args:
        folders: folders with more spec files (``*.yaml``); a folder's templates lie beside them or in its
            ``templates/``.

    Raises:
        SpecError: with every fault of every file, a source that there is not, or two tasks of one name.
    """
    entries: list[TaskEntry] = []
    problems: list[str] = []
    for folder in (shipped("task_specs"), *folders):
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder of task specs")
        files = sorted(folder.glob("*.yaml"))
        if not files:
            raise UsageError(f"{folder}: there is no task spec (*.yaml) in it")
        for path in files:
            try:
                found = load_task_spec(path)
                problems += _unknown_sources(found[0])
                entries += found
            except SpecError as error:
                problems += error.problems
    seen: dict[str, TaskEntry] = {}
    for entry in entries:
        if entry.config in seen:
            problems.append(
                f"{entry.place()}: task {entry.name} stands also at {seen[entry.config].place()}; rename one"
            )
        seen[entry.config] = entry
    if problems:
        raise SpecError(problems)
    return entries


def _unknown_sources(entry: TaskEntry) -> list[str]:
    """Sources that a spec names and that there are not."""
    spec, known = entry.spec, source_names()
    named: list[tuple[tuple[str | int, ...], str]] = [(("source",), spec.source)]
    named += [(("namespace",), spec.namespace)] if spec.namespace else []
    named += [(("reads", number), name) for number, name in enumerate(spec.reads)]
    named += [(("upstream", number), name) for number, name in enumerate(spec.upstream)]
    problems = []
    for at, name in named:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            problems.append(f"{entry.file.place(at)}: {at[0]}: no source is called {name!r}; {hint}")
    return problems
