"""What a source is: the files its owners ship, and the typed tables its reader makes of them.

A reader knows nothing of tasks or prompts. It says which files it needs (:class:`Input`), which tables it
gives (:class:`Table`, documented column by column), and reads the first into the second.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from instruct.errors import DataError
from instruct.model import StrictModel

# Bytes of a file among which a mark stands.
_BEGINNING = 64 << 10

# What a reader gives for a table: all of it, or its rows piece by piece, so that they need not be in memory together.
Rows: TypeAlias = pa.Table | Iterator[pa.RecordBatch]
# Makes a table of its name, its schema and its rows.
Keep: TypeAlias = Callable[[str, pa.Schema, Rows], pa.Table]


@dataclass(frozen=True)
class Input:
    """One published file, or group of files, of a source.

    Attributes:
        name: short name, as the reader looks it up.
        patterns: glob patterns below the source's root, in order of preference; the first that matches is taken.
        obtain: where a user gets it.
        required: whether the source cannot be read without it.
    """

    name: str
    patterns: tuple[str, ...]
    obtain: str
    required: bool = True

    def found(self, root: Path) -> tuple[Path, ...]:
        """Its files below a source's root: those of the first pattern that matches any."""
        for pattern in self.patterns:
            if paths := tuple(sorted(path for path in root.glob(pattern) if path.is_file())):
                return paths
        return ()


@dataclass(frozen=True)
class Table:
    """A table of a reader: what one row is, and its schema (every column carries a description)."""

    description: str
    schema: pa.Schema


@dataclass(frozen=True)
class View:
    """A table that is a SQL query over the reader's tables, computed only when a task reads it.

    The query names tables with their source: ``FROM openi.studies``.
    """

    description: str
    sql: str


class Options(StrictModel):
    """Options of a reader; a reader with options subclasses this."""


@dataclass(frozen=True)
class Files:
    """The files of a source found below one root."""

    root: Path
    found: Mapping[str, tuple[Path, ...]]

    def all(self) -> list[Path]:
        """Every file found, ordered by its path below the root."""
        return sorted({path for paths in self.found.values() for path in paths})

    def relative(self, path: Path) -> str:
        """Path below the root, with forward slashes: the same on every machine."""
        whole, root = path.as_posix(), f"{self.root.as_posix()}/"
        return whole[len(root) :] if whole.startswith(root) else path.relative_to(self.root).as_posix()

    def __getitem__(self, name: str) -> tuple[Path, ...]:
        return self.found.get(name, ())


@dataclass(frozen=True)
class Source:
    """One published dataset and how it is read.

    Attributes:
        name: identifier, also the namespace of its patient, study and image keys.
        title: the name its owners gave it.
        homepage: where it is described.
        folders: usual names of its folder below a data root.
        inputs: the files it consists of.
        image_folders: folders below the root that may hold the images, in order of preference. Image paths in
            the tables are relative to the first of them that exists.
        images_within: folder that an image folder must hold to be taken before those that do not.
        images_beside: input whose file an image folder must lie beside to be taken before those that do not.
        tables: name to table.
        views: name to view, over the tables.
        read: files and options to the rows of each table in ``tables``.
        options: the options ``read`` takes.
        marks: texts of which one stands near the beginning of a required file, where another source has files of the
            same names.
    """

    name: str
    title: str
    homepage: str
    folders: tuple[str, ...]
    inputs: tuple[Input, ...]
    image_folders: tuple[str, ...]
    tables: Mapping[str, Table]
    read: Callable[[Files, Any], Mapping[str, Rows]]
    views: Mapping[str, View] = field(default_factory=dict)
    options: type[Options] = Options
    marks: tuple[bytes, ...] = ()
    images_within: str = "."
    images_beside: str = ""

    def find(self, root: Path) -> Files:
        """Find the source's files below a root.

        Raises:
            DataError: a required file is missing; the message names it, the places tried and where to get it.
        """
        found: dict[str, tuple[Path, ...]] = {}
        missing: list[str] = []
        for item in self.inputs:
            if paths := item.found(root):
                found[item.name] = paths
            else:
                if item.required:
                    missing.append(
                        f"{root}: {item.name} not found; expected {' or '.join(item.patterns)}. {item.obtain}"
                    )
        if missing:
            raise DataError("\n".join(missing))
        return Files(root, found)

    def present(self, root: Path, *, certain: bool = False) -> bool:
        """Whether any required file of the source lies below a root.

        Args:
            root: the folder.
            certain: take a file that has none of the source's marks for another source's.
        """
        found = (
            next(iter(root.glob(pattern)), None) for item in self.inputs if item.required for pattern in item.patterns
        )
        return any(path is not None and (not certain or self._is_marked(path)) for path in found)

    def _is_marked(self, path: Path) -> bool:
        if not self.marks or not path.is_file():
            return not self.marks
        with path.open("rb") as file:
            beginning = file.read(_BEGINNING)
        return any(mark in beginning for mark in self.marks)

    def image_folder(self, root: Path) -> Path:
        """The folder that image paths of the tables are relative to."""
        beside = [path.parent for item in self.inputs if item.name == self.images_beside for path in item.found(root)]
        folders = sorted((root / folder for folder in self.image_folders), key=lambda path: path.parent not in beside)
        for within in (self.images_within, "."):
            for folder in folders:
                if (folder / within).is_dir():
                    return folder
        return folders[0]

    def tables_of(self, files: Files, options: Options, keep: Keep | None = None) -> dict[str, pa.Table]:
        """Read the files, and hold the reader to its declared schemas.

        Args:
            files: the source's files.
            options: the reader's options.
            keep: makes a table of its rows, such as one on disk; default: in memory.

        Raises:
            DataError: a file is malformed.
        """
        keep = keep or _in_memory
        with _collector_paused():
            rows = dict(self.read(files, options))
            return {
                name: keep(name, table.schema, self._held(name, rows.pop(name))) for name, table in self.tables.items()
            }

    def _held(self, name: str, rows: Rows) -> Rows:
        """The rows, held to the schema of their table."""
        declared = self.tables[name].schema

        def check(schema: pa.Schema) -> None:
            if not schema.equals(declared):
                raise TypeError(f"reader {self.name}: table {name} is {schema}, declared {declared}")

        def checked(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                check(batch.schema)
                yield batch

        if not isinstance(rows, pa.Table):
            return checked(rows)
        check(rows.schema)
        return rows


def _in_memory(name: str, schema: pa.Schema, rows: Rows) -> pa.Table:
    return rows if isinstance(rows, pa.Table) else pa.Table.from_batches(rows, schema)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause Python's cycle collector: it would walk a reader's rows again and again, which hold hardly any cycles."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def column(name: str, kind: pa.DataType, description: str, nullable: bool = True) -> pa.Field:
    """A documented column of a table."""
    return pa.field(name, kind, nullable=nullable, metadata={"description": description})
