"""What the readers tell of the studies of a build: people, views, sections. Shards hold none of it.

A source is read again, from the files that the build read: each file's digest must be the one in the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instruct.build.roots import find_root
from instruct.build.selection import reader_options
from instruct.digest import digest_file
from instruct.errors import DataError, UsageError
from instruct.reports.statistics.texts import Tokenizer, token_counts, word_counts
from instruct.sources import get_source

SECTIONS = ("indication", "comparison", "findings", "impression", "report")
# Lower ends of the age bands in years, as in Table 2 of the ReXGradient-160K paper; a lower end belongs to its band.
AGE_BANDS = {"0-20": 0, "20-40": 20, "40-60": 40, "60-80": 60, "80+": 80}
SEXES = {"M": "M", "MALE": "M", "F": "F", "FEMALE": "F"}
_PEOPLE = ("sex", "age", "institution", "manufacturer")
# Distinct values that are listed of views and manufacturers.
_LISTED = 30


@dataclass(frozen=True)
class ReaderFacts:
    """A source as its reader gives it.

    Attributes:
        studies: one row per study, with those of the columns of people and sections that the reader has.
        images: one row per image: ``study`` and, where the reader tells it, ``view``; None where images are not told
            by study.
    """

    studies: pa.Table
    images: pa.Table | None


def read_again(manifest: Mapping[str, Any], name: str, data_root: Path | None) -> tuple[ReaderFacts | None, str]:
    """A source of a build, read from the files that the build read.

    Args:
        manifest: the build's manifest.
        name: the source.
        data_root: folder below which it lies, where that is not where the build found it.

    Returns:
        The facts, and a note; without facts, the note says why.
    """
    try:
        source = get_source(name)
    except UsageError:
        return None, "its reader is not installed"
    built_from = manifest.get("roots", {}).get(name)
    root = find_root(source, data_root)
    if root is None and built_from is not None and Path(built_from).is_dir():
        root = Path(built_from)
    if root is None:
        return None, "not on disk"
    inputs = {
        file.removeprefix(f"{name}/"): digest
        for task in manifest["tasks"]
        for file, digest in ((task.get("facts") or {}).get("inputs") or {}).items()
        if file.startswith(f"{name}/")
    }
    try:
        files = source.find(root)
        changed = [file for file, digest in inputs.items() if _differs(root / file, digest)]
        if changed:
            return None, f"{changed[0]} is no longer the file that the build read"
        choice = manifest["recipe"]["sources"].get(name) or {}
        tables = source.tables_of(files, reader_options(source, choice.get("options", {})))
    except DataError as error:
        return None, str(error).splitlines()[0]
    return _facts(tables), ""


def _differs(path: Path, digest: str) -> bool:
    return not path.is_file() or digest_file(path) != digest


def _facts(tables: Mapping[str, pa.Table]) -> ReaderFacts | None:
    told = [tables[name] for name in ("studies", "images") if name in tables and "study" in tables[name].schema.names]
    if not told:
        return None
    studies = _first_of_study(told[0], _columns(told[0]))
    for other in told[1:]:
        lacking = [name for name in _columns(other) if name not in studies.schema.names]
        if lacking:
            studies = studies.join(_first_of_study(other, lacking), "study", use_threads=False)
    return ReaderFacts(studies, _images(told[-1], told[0]))


def _columns(table: pa.Table) -> list[str]:
    return [name for name in (*_PEOPLE, *SECTIONS, "birth", "date") if name in table.schema.names]


def _first_of_study(table: pa.Table, columns: list[str]) -> pa.Table:
    """One row per study; images of one study tell the same of it."""
    grouped = table.select(["study", *columns]).group_by("study", use_threads=False)
    first = grouped.aggregate([(name, "first") for name in columns])
    return first.rename_columns([name.removesuffix("_first") for name in first.schema.names])


def _images(images: pa.Table, studies: pa.Table) -> pa.Table | None:
    if "views" in studies.schema.names:  # lists, one entry per image
        lists = studies["images"].combine_chunks()
        rows = pc.list_parent_indices(lists)
        return pa.table({"study": studies["study"].take(rows), "view": studies["views"].combine_chunks().flatten()})
    if "image" in images.schema.names or "file" in images.schema.names:
        return images.select([name for name in ("study", "view") if name in images.schema.names])
    return None


def describe(facts: ReaderFacts, studies: pa.Array, tokenizer: Tokenizer | None) -> dict[str, Any]:
    """What is known of some studies.

    Args:
        facts: the source, read again.
        studies: keys of the studies.
        tokenizer: counts tokens, where wanted.

    Returns:
        Plain data; a fact that the reader does not have is absent. ``described`` is the number of studies found.
    """
    held = facts.studies.filter(pc.is_in(facts.studies["study"], value_set=studies))
    names = held.schema.names
    told: dict[str, Any] = {"described": len(held)}
    if facts.images is not None:
        images = facts.images.filter(pc.is_in(facts.images["study"], value_set=studies))
        numbers = np.unique(_codes(images["study"]), return_counts=True)[1]
        per_study = np.bincount(numbers).tolist()
        none = len(held) - sum(per_study)
        told["images_listed"] = len(images)
        told["images_per_study"] = {str(n): count for n, count in enumerate([none, *per_study[1:]]) if count}
        if "view" in images.schema.names:
            told["views"] = _values(images["view"])
    if "sex" in names:
        sexes = [SEXES.get(str(value).upper(), "unknown") for value in held["sex"].to_pylist()]
        told["sexes"] = {name: sexes.count(name) for name in ("M", "F", "unknown")}
    ages = _ages(held)
    if ages is not None:
        told["ages"] = _bands(ages)
    if "institution" in names:
        told["sites"] = pc.count_distinct(held["institution"]).as_py()
        told["sites_missing"] = held["institution"].null_count
    if "manufacturer" in names:
        told["manufacturers"] = _values(held["manufacturer"])
    sections = {name: _section(held[name].combine_chunks(), tokenizer) for name in SECTIONS if name in names}
    if sections:
        told["sections"] = sections
    return told


def _codes(column: pa.ChunkedArray) -> Any:
    return np.asarray(column.combine_chunks().dictionary_encode().indices)


def _values(column: pa.ChunkedArray) -> dict[str, int]:
    """Values by number, the frequent first; nulls count as ``missing``, and what is rare together as ``other``."""
    counted = pc.value_counts(column.combine_chunks())
    pairs = zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
    ranked = sorted(((value, n) for value, n in pairs if value is not None), key=lambda pair: (-pair[1], pair[0]))
    values = dict(ranked[:_LISTED])
    if ranked[_LISTED:]:
        values["other"] = values.get("other", 0) + sum(n for _, n in ranked[_LISTED:])
    if column.null_count:
        values["missing"] = values.get("missing", 0) + column.null_count
    return values


def _ages(studies: pa.Table) -> pa.Array | None:
    """Years, null where missing; a text counts as the first number in it, a year of birth by the year of the study."""
    names = studies.schema.names
    if "age" in names:
        ages = studies["age"].combine_chunks()
        if pa.types.is_string(ages.type):
            ages = pc.struct_field(pc.extract_regex(ages, r"(?P<years>\d+)"), "years")
        return ages.cast(pa.float64())
    if "birth" in names and "date" in names and pa.types.is_date(studies.schema.field("date").type):
        years = pc.year(studies["date"]).combine_chunks()
        return pc.subtract(years, studies["birth"].combine_chunks().cast(pa.int64())).cast(pa.float64())
    return None


def _bands(ages: pa.Array) -> dict[str, int]:
    known = np.asarray(ages.drop_null())
    bands = np.searchsorted(list(AGE_BANDS.values()), known, side="right") - 1
    counts = np.bincount(np.maximum(bands, 0), minlength=len(AGE_BANDS)).tolist()
    return dict(zip(AGE_BANDS, counts, strict=True)) | {"missing": ages.null_count}


def _section(texts: pa.Array, tokenizer: Tokenizer | None) -> dict[str, Any]:
    """Studies with a text, and its mean length: over all studies, 0 where it is missing, and over those with one."""
    words = word_counts(texts)
    present = int((words > 0).sum())
    told = {"texts": present, "words": int(words.sum())} | _means("words", words, present)
    if tokenizer is not None:
        told |= _means("tokens", token_counts(texts, tokenizer), present)
    return told


def _means(unit: str, lengths: Any, present: int) -> dict[str, Any]:
    total = int(lengths.sum())
    return {
        f"mean_{unit}": round(total / len(lengths), 4) if len(lengths) else None,
        f"mean_{unit}_present": round(total / present, 4) if present else None,
    }
