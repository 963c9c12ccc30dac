"""ReXGradient-160K (count table: REX-Gradient): 160,000 studies of 109,487 patients, sectioned reports, 16-bit PNGs.

Layout and statistics: the dataset card ``rajpurkarlab/ReXGradient-160K`` and the paper "ReXGradient-160K". Read are
``metadata/{train,valid,test}_metadata_view_position.json``: one object ``{study key: record}`` each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Source, Table, View, column
from instruct.sources.json_stream import iter_members

SPLITS = {"train": "train", "valid": "val", "test": "test"}

# How likely a view shows the whole chest from the front; the lower rank is the better key image.
_VIEW_RANKS: dict[str, int] = {
    **dict.fromkeys(["PA"], 0),
    **dict.fromkeys(["POSTERO_ANTERIOR"], 1),
    **dict.fromkeys(["AP"], 2),
    **dict.fromkeys(["ANTERO_POSTERIOR"], 3),
    **dict.fromkeys(["AP AXIAL"], 4),
    **dict.fromkeys(["UNKNOWN", "N/A", "NONE", ""], 6),
    **dict.fromkeys(["LAO", "RAO", "LPO", "RPO", "OBLIQUE"], 7),
    **dict.fromkeys(["LATERAL", "LAT", "LL"], 8),
}
_OTHER_VIEW_RANK = 5

_MISSING = frozenset({"", "none", "none.", "n/a", "unknown", "nan"})
_YEARS_PER_UNIT = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_AGE = re.compile(r"(\d{1,3})([YMWD])")
_IMAGE_PREFIX = "../deid_png/"


class RexGradientOptions(Options):
    """Options of the REX-Gradient reader."""

    key_image: Literal["view_rank", "first"] = Field(
        default="view_rank",
        description="Which image stands for a study: the best by view (PA before AP before other frontal views before "
        "unlabelled ones before obliques before laterals, ties by list order), or the first of the list.",
    )


_text = pa.string()
STUDIES = Table(
    "One row per study, in file order, train before val before test.",
    pa.schema(
        [
            column("study", _text, "key of the record: p<PatientID>_a<AccessionNumber>_s<StudyInstanceUid>", False),
            column("split", _text, "train, val or test: the file it comes from", False),
            column("patient", _text, "PatientID", False),
            column("date", pa.date32(), "StudyDate; shifted, the same shift for all studies of a patient"),
            column("sex", _text, "M, F or null"),
            column("age", pa.float64(), "age in years; null where missing"),
            column("ethnic_group", _text, "EthnicGroup"),
            column("weight", pa.float64(), "PatientWeight, kg"),
            column("institution", _text, "InstitutionName"),
            column("manufacturer", _text, "Manufacturer"),
            column("indication", _text, "section Indication, trimmed; null where missing"),
            column("comparison", _text, "section Comparison, trimmed; null where missing, 'None' or 'N/A'"),
            column("findings", _text, "section Findings, trimmed; null where missing"),
            column("impression", _text, "section Impression, trimmed; null where missing"),
            column("images", pa.list_(_text), "image paths below deid_png/, in the record's order", False),
            column("views", pa.list_(_text), "ImageViewPosition of each image, upper case; null where missing", False),
            column("key_image", _text, "the image that stands for the study (option key_image); null without images"),
            column("key_view", _text, "view of the key image"),
            column("origin", _text, "file and number of the record in it, from 1", False),
        ]
    ),
)

IMAGES = View(
    "One row per image of a study.",
    "SELECT study, split, patient, unnest(images) AS image, unnest(views) AS view,"
    " generate_subscripts(images, 1) AS position FROM rexgradient.studies",
)

STUDIES_WITH_PRIOR = View(
    "Every study with the study of the same patient that comes just before it. Studies of one day are ordered by"
    " whether they name a comparison (those without come first), then by key.",
    "SELECT *, lag(struct_pack(study := study, date := date, key_image := key_image, key_view := key_view))"
    " OVER (PARTITION BY split, patient ORDER BY date NULLS FIRST, comparison IS NOT NULL, study) AS prior"
    " FROM rexgradient.studies",
)


def read(files: Files, options: RexGradientOptions) -> dict[str, pa.Table]:
    """Read the metadata files into the table ``studies``.

    Raises:
        DataError: a file is cut off or malformed, a field is missing or of another shape, or two studies share a key.
    """
    batches = []
    for name, split in SPLITS.items():
        for path in files[name]:
            origin = files.relative(path)
            number = 0
            for members in iter_members(path, b'"StudyInstanceUid"'):
                try:
                    batches.append(_batch(members, split, origin, number, options))
                except _FieldError as error:
                    raise DataError(f"{path}: {error}") from None
                number += len(members)
    table = pa.Table.from_batches(batches, STUDIES.schema)
    _refuse_repeated(table)
    return {"studies": table}


class _FieldError(ValueError):
    """A record lacks a field, or holds another shape."""


def _batch(
    members: Mapping[str, Mapping[str, Any]], split: str, origin: str, number: int, options: RexGradientOptions
) -> pa.RecordBatch:
    records = list(members.values())
    images, views, key_images, key_views = [], [], [], []
    for key, record in members.items():
        paths, labels = _images(key, record)
        images.append(paths)
        views.append(labels)
        best = 0
        if options.key_image == "view_rank" and len(paths) > 1:
            ranks = [_VIEW_RANKS.get(label or "", _OTHER_VIEW_RANK) for label in labels]
            best = ranks.index(min(ranks))
        key_images.append(paths[best] if paths else None)
        key_views.append(labels[best] if paths else None)

    def texts(field: str) -> pa.Array:
        return pa.array(_texts(members, field), _text)

    columns = [
        pa.array(list(members), _text),
        pa.array([split] * len(records), _text),
        pa.array(_required(members, "PatientID"), _text),
        _dates(members),
        pa.array([sex if sex in ("M", "F") else None for sex in _texts(members, "PatientSex")], _text),
        pa.array([_years(age) for age in _texts(members, "PatientAge")], pa.float64()),
        texts("EthnicGroup"),
        pa.array([_number(weight) for weight in _texts(members, "PatientWeight")], pa.float64()),
        texts("InstitutionName"),
        texts("Manufacturer"),
        *(texts(section) for section in ("Indication", "Comparison", "Findings", "Impression")),
        pa.array(images, pa.list_(_text)),
        pa.array(views, pa.list_(_text)),
        pa.array(key_images, _text),
        pa.array(key_views, _text),
        pa.array([f"{origin}:{number + k}" for k in range(1, len(records) + 1)], _text),
    ]
    return pa.record_batch(columns, schema=STUDIES.schema)


def _required(members: Mapping[str, Mapping[str, Any]], field: str) -> list[Any]:
    try:
        return [record[field] for record in members.values()]
    except KeyError:
        key = next(key for key, record in members.items() if field not in record)
        raise _FieldError(f"record {key!r} has no field {field!r}; is this a *_metadata_view_position.json?") from None


def _texts(members: Mapping[str, Mapping[str, Any]], field: str) -> list[str | None]:
    """Trimmed values of a field as texts; None for every spelling of a missing value."""
    values: list[str | None] = []
    for value in _required(members, field):
        if value is None:
            values.append(None)
            continue
        text = value.strip() if isinstance(value, str) else str(value)
        values.append(None if len(text) < 8 and text.lower() in _MISSING else text)
    return values


def _images(key: str, record: Mapping[str, Any]) -> tuple[list[str], list[str | None]]:
    paths, labels = record.get("ImagePath"), record.get("ImageViewPosition")
    if not isinstance(paths, list) or not isinstance(labels, list):
        raise _FieldError(f"record {key!r} has no lists ImagePath and ImageViewPosition")
    if len(paths) != len(labels):
        raise _FieldError(f"record {key!r} lists {len(paths)} images and {len(labels)} views")
    return (
        [path.removeprefix(_IMAGE_PREFIX) for path in paths],
        [label.strip().upper() if label else None for label in labels],
    )


def _dates(members: Mapping[str, Mapping[str, Any]]) -> pa.Array:
    # Written as a number or as a text; eight digits either way.
    written = [None if date is None else str(date) for date in _required(members, "StudyDate")]
    for key, date in zip(members, written, strict=True):
        if date is not None and not (len(date) == 8 and date.isdecimal()):
            raise _FieldError(f"record {key!r} has StudyDate {date!r}; expected YYYYMMDD")
    try:
        return pc.strptime(pa.array(written, _text), format="%Y%m%d", unit="s").cast(pa.date32())
    except pa.ArrowInvalid as error:
        raise _FieldError(f"a StudyDate is no date: {error}") from None


def _years(age: str | None) -> float | None:
    """Years of a DICOM age string such as 062Y, 007M, 003W, 002D."""
    match = _AGE.fullmatch(age) if age else None
    return int(match[1]) * _YEARS_PER_UNIT[match[2]] if match else None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _refuse_repeated(table: pa.Table) -> None:
    studies = table["study"].combine_chunks()
    if pc.count_distinct(studies).as_py() == len(studies):
        return
    counts = pc.value_counts(studies)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").slice(0, 3).to_pylist()
    places: Iterable[str] = chain.from_iterable(
        table.filter(pc.equal(table["study"], study))["origin"].to_pylist() for study in repeated
    )
    raise DataError(f"study {', '.join(repeated)} stands more than once: {', '.join(places)}")


_OBTAIN = (
    "Accept the agreement of rajpurkarlab/ReXGradient-160K on the Hugging Face Hub, download metadata/ and unpack the "
    "image parts into deid_png/."
)

SOURCE = Source(
    name="rexgradient",
    title="ReXGradient-160K",
    homepage="https://huggingface.co/datasets/rajpurkarlab/ReXGradient-160K",
    folders=("rexgradient", "ReXGradient-160K", "ReXGradient", "rex-gradient"),
    inputs=tuple(
        Input(
            split,
            tuple(folder + f"{split}_metadata_view_position.json" for folder in ("metadata/", "")),
            _OBTAIN,
        )
        for split in SPLITS
    ),
    image_folders=("deid_png",),
    tables={"studies": STUDIES},
    views={"images": IMAGES, "studies_with_prior": STUDIES_WITH_PRIOR},
    read=read,
    options=RexGradientOptions,
    modules=("instruct.sources.rexgradient", "instruct.sources.json_stream"),
)
