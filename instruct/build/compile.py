"""Compile: from a task of a spec to the records of a build, cut into shards' worth and named by digest.

A task's records go into one Arrow file of the work folder, one batch for each shard to come, or wait in memory. What is
wrong with their images is settled here, so that a record's number of images is known before it is worded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instruct.build.batches import appending
from instruct.build.image_regions import follow, shown_regions, stray_regions
from instruct.digest import digest_batch
from instruct.images.folder import ImageFolder
from instruct.prompts.template import CompiledTemplate
from instruct.reasons import Reason
from instruct.specs.contract import namespaces
from instruct.specs.recipe import Recipe
from instruct.specs.records import RecordQueries
from instruct.specs.task_spec import TaskEntry


@dataclass(frozen=True)
class Slice:
    """The records of one shard to come: themselves, or the file of which they are a batch.

    Attributes:
        namespaces: sources that the records' images belong to.
    """

    records: str | pa.RecordBatch
    split: str
    batch: int
    rows: int
    digest: str
    namespaces: frozenset[str]


@dataclass
class CompiledTask:
    """What is known of a task's records.

    Attributes:
        records: records of each split before any was left out.
        bad: records left out for their images: id, split, reason, detail, origin.
        missing_images: images that are referred to and not on disk, with ``images.missing: keep``.
        dropped_images: images left out of records that stay, by reason.
        dicom: whether records show DICOM files, which nothing opens by their path as pictures.
    """

    records: Counter[str] = field(default_factory=Counter)
    bad: list[dict[str, str]] = field(default_factory=list)
    missing_images: int = 0
    dropped_images: Counter[str] = field(default_factory=Counter)
    dicom: bool = False


def compile_task(
    entry: TaskEntry,
    queries: RecordQueries,
    template: CompiledTemplate,
    recipe: Recipe,
    folders: Mapping[str, ImageFolder],
    file: Path | None,
    compiled: CompiledTask,
) -> Iterator[Slice]:
    """Run a task's query and cut its records into shards' worth.

    Args:
        entry: the task.
        queries: the source's queries, over its tables.
        template: the task's template.
        recipe: the recipe.
        folders: namespace to the folder of its images; a namespace without one has no images on disk.
        file: the records file to write; None keeps the records in memory.
        compiled: what is told of the records; all of it once the last slice was given.

    Yields:
        The shards to come: each as soon as its records are there, or all once the file is whole.

    Raises:
        SpecError, DataError: see :meth:`RecordQueries.records`.
        DataError: the records file cannot be written.
    """
    missing: list[pa.StringArray] = []
    slices: list[Slice] = []

    def note_missing(images: pa.StringArray) -> None:
        # A part of a batch holds all of it, which does no harm where the batches wait in memory anyway.
        missing.append(images if file is None else pc.unique(images))

    with appending(file) if file else nullcontext() as append:
        number = 0
        for records in queries.records(entry, template.columns, recipe.shard_rows):
            split = records.column("split")[0].as_py()
            compiled.records[split] += len(records)
            held_by = frozenset(pc.unique(namespaces(records, entry.namespace)[1]).to_pylist())
            if template.declarations.images != "none":
                records = _settle_images(
                    entry, records, template.declarations.images, recipe, folders, compiled, note_missing
                )
                if not compiled.dicom:
                    shown = records.column("images").flatten()
                    compiled.dicom = any(pc.any(pc.ends_with(shown, ending)).as_py() for ending in _DICOM)
                if recipe.images.store != "reference":
                    records = follow(records, entry.namespace, folders)
            if not len(records):
                continue
            digest = digest_batch(records)
            if append is None:
                yield Slice(records, split, number, len(records), digest, held_by)
            else:
                append(records)
                slices.append(Slice(str(file), split, number, len(records), digest, held_by))
            number += 1
    yield from slices
    compiled.missing_images = queries.count_distinct(pa.chunked_array(missing, pa.string()))


def _settle_images(
    entry: TaskEntry,
    records: pa.RecordBatch,
    wanted: str | int | None,
    recipe: Recipe,
    folders: Mapping[str, ImageFolder],
    compiled: CompiledTask,
    note_missing: Callable[[pa.StringArray], None],
) -> pa.RecordBatch:
    """Leave out what cannot be shown: images of a set one by one, records whose images all have a part in the task.

    The regions of an image go with it, and the record too where it has no others: its answer would say that there are
    none.
    """
    lists = records.column("images")
    rows = np.asarray(pc.list_parent_indices(lists))
    paths = lists.flatten()
    faults = _faults(entry, records, rows, paths, folders)
    if recipe.images.missing == "keep":
        absent = faults == _CODES[Reason.MISSING_IMAGE]
        if absent.any():
            note_missing(paths if absent.all() else paths.filter(pa.array(absent)))
            faults[absent] = 0
    shown = faults == 0
    before = np.bincount(rows, minlength=len(records))
    after = np.bincount(rows[shown], minlength=len(records))
    strays = stray_regions(records, before)
    if shown.all() and not strays and (before.all() if wanted == "any" else (before == wanted).all()):
        return records

    regions = None if shown.all() else shown_regions(records, shown)
    bare = after == 0
    if regions is not None:
        bare |= (_lengths(records.column("regions")) > 0) & (_lengths(regions) == 0)
    reasons: dict[int, tuple[Reason, str]] = {}
    for index in np.flatnonzero(~shown):
        row, fault = int(rows[index]), _FAULTS[faults[index] - 1]
        if wanted != "any" or bare[row]:
            reasons.setdefault(row, (fault, paths[int(index)].as_py()))
        elif row not in strays:
            compiled.dropped_images[str(fault)] += 1
    for row in np.flatnonzero(after == 0 if wanted == "any" else before != wanted).tolist():
        reason = Reason.NO_IMAGE if before[row] == 0 else Reason.IMAGE_COUNT
        reasons.setdefault(row, (reason, f"{before[row]} images; the template places {wanted}"))
    for row, detail in strays.items():
        reasons.setdefault(row, (Reason.REGION_IMAGE, detail))

    for row, (reason, detail) in sorted(reasons.items()):
        compiled.bad.append(
            {
                "id": records.column("id")[row].as_py(),
                "split": records.column("split")[row].as_py(),
                "reason": str(reason),
                "detail": detail,
                "origin": records.column("origin")[row].as_py(),
            }
        )
    if not shown.all():
        offsets = np.zeros(len(records) + 1, np.int32)
        np.cumsum(after, out=offsets[1:])
        kept = pa.ListArray.from_arrays(pa.array(offsets), paths.filter(pa.array(shown)))
        for name, column in (("images", kept), ("regions", regions)):
            if column is not None:
                position = records.schema.get_field_index(name)
                records = records.set_column(position, records.schema.field(position), column)
    if reasons:
        good = np.ones(len(records), bool)
        good[list(reasons)] = False
        records = records.filter(pa.array(good))
    return records


def _lengths(lists: pa.ListArray) -> npt.NDArray[np.int64]:
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0), np.int64)


_DICOM = (".dcm", ".dicom")
# Faults as small numbers, so that a batch of images is an array; 0 is none.
_FAULTS = tuple(Reason)
_CODES: dict[Reason | None, int] = {None: 0} | {reason: number for number, reason in enumerate(_FAULTS, 1)}


def _faults(
    entry: TaskEntry,
    records: pa.RecordBatch,
    rows: npt.NDArray[np.int64],
    paths: pa.StringArray,
    folders: Mapping[str, ImageFolder],
) -> npt.NDArray[np.int8]:
    """What is wrong with each image, as codes."""

    def look_up(namespace: str, some: pa.StringArray) -> npt.NDArray[np.int8]:
        folder = folders.get(namespace)
        if folder is None or folder.all_missing(some):
            return np.full(len(some), _CODES[Reason.MISSING_IMAGE], np.int8)
        return np.fromiter(map(_CODES.__getitem__, folder.faults(some.to_pylist())), np.int8, len(some))

    held_by = namespaces(records, entry.namespace)[1]
    sources = sorted(pc.unique(held_by).to_pylist())
    if len(sources) == 1:
        return look_up(sources[0], paths)
    held_by = held_by.take(pa.array(rows))
    faults = np.zeros(len(paths), np.int8)
    for namespace in sources:
        here = pc.equal(held_by, namespace)
        faults[np.asarray(here)] = look_up(namespace, paths.filter(here))
    return faults
