"""ReXGradient-160K (count table: REX-Gradient): 160,000 studies of 109,487 patients, sectioned reports, 16-bit PNGs.

Layout and statistics: the dataset card ``rajpurkarlab/ReXGradient-160K`` and the paper "ReXGradient-160K". Read are
``metadata/{train,valid,test}_metadata_view_position.json``: one object ``{study key: record}`` each.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from instruct.buffers import copied
from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Rows, Source, Table, View, column
from instruct.sources.files import origins
from instruct.sources.json_columns import KEY
from instruct.sources.json_stream import iter_members
from instruct.sources.rexgradient_fields import NO_TEXT, FieldError, ages, dates, numbers, present

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

# Bytes at the end of a key that tell it from most others.
_TELLING = 16

_SEXES = pa.array(["M", "F"])
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


def read(files: Files, options: RexGradientOptions) -> dict[str, Rows]:
    """Read the metadata files into the table ``studies``, piece by piece.

    Raises:
        DataError: a file is cut off or malformed, a field is missing or of another shape, or two studies share a key.
    """
    return {"studies": _studies(files, options)}


def _studies(files: Files, options: RexGradientOptions) -> Iterator[pa.RecordBatch]:
    keys: list[pa.StringArray] = []
    for path, split, number, members in _pieces(files):
        try:
            batch = _batch(members, split, files.relative(path), number, options)
        except FieldError as error:
            raise DataError(f"{path}: {error}") from None
        keys.append(batch["study"])
        yield batch
    every = pa.chunked_array(keys, _text)
    ends = pc.binary_slice(every.cast(pa.binary()), -_TELLING)  # nearly always these differ, which is quicker to see
    if all(pc.count_distinct(texts).as_py() < len(every) for texts in (ends, every)):
        _refuse_repeated(files)


def _pieces(files: Files) -> Iterator[tuple[Path, str, int, pa.RecordBatch]]:
    """Some records, by study, with their file, its split, and how many came before them in the file."""
    for name, split in SPLITS.items():
        for path in files[name]:
            number = 0
            for members in iter_members(path, b'"StudyInstanceUid"', _Record):
                yield path, split, number, members
                number += len(members)


# Written as numbers or as texts.
_Written = str | int | float | None


class _Record(msgspec.Struct, gc=False, kw_only=True):
    """The fields that are read of a record; of the others, only whether they are JSON is looked at."""

    PatientID: str
    PatientSex: _Written = None
    PatientAge: _Written = None
    EthnicGroup: _Written = None
    PatientWeight: _Written = None
    StudyDate: _Written
    InstitutionName: _Written = None
    Manufacturer: _Written = None
    Indication: str | None
    Comparison: str | None
    Findings: str | None
    Impression: str | None
    ImagePath: list[str]
    ImageViewPosition: list[str | None]


def _batch(
    members: pa.RecordBatch, split: str, origin: str, number: int, options: RexGradientOptions
) -> pa.RecordBatch:
    count, keys, sex = len(members), copied(members[KEY]), members["PatientSex"]
    images, view_of_image, key_image, key_view = _images(
        keys, members["ImagePath"], members["ImageViewPosition"], options
    )
    columns = [
        keys,
        pa.repeat(pa.scalar(split), count),
        copied(members["PatientID"]),
        dates(keys, present(members["StudyDate"])),
        pc.if_else(pc.is_in(sex, value_set=_SEXES), sex, NO_TEXT),
        ages(present(members["PatientAge"])),
        present(members["EthnicGroup"]),
        numbers(present(members["PatientWeight"])),
        *(
            present(members[field])
            for field in ("InstitutionName", "Manufacturer", "Indication", "Comparison", "Findings", "Impression")
        ),
        images,
        view_of_image,
        key_image,
        key_view,
        origins(origin, count, number + 1),
    ]
    return pa.record_batch(columns, schema=STUDIES.schema)


def _images(
    keys: pa.StringArray, paths: pa.ListArray, views: pa.ListArray, options: RexGradientOptions
) -> tuple[pa.ListArray, pa.ListArray, pa.Array, pa.Array]:
    """Images and views of each study, and the image that stands for it with its view."""
    lengths = np.asarray(pc.list_value_length(paths))
    agree = lengths == np.asarray(pc.list_value_length(views))
    if not agree.all():
        key = keys[int(np.argmin(agree))].as_py()
        raise FieldError(f"record {key!r} lists another number of views than of images")
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    flat = paths.flatten()
    prefixed, bare = pc.starts_with(flat, _IMAGE_PREFIX), pc.binary_replace_slice(flat, 0, len(_IMAGE_PREFIX), "")
    flat = bare if pc.all(prefixed).as_py() else pc.if_else(prefixed, bare, flat)
    # A few labels stand for all images: they are cleaned once each.
    coded = views.flatten().dictionary_encode()
    clean = pc.utf8_upper(pc.utf8_trim_whitespace(coded.dictionary))
    clean = pc.if_else(pc.equal(clean, ""), NO_TEXT, clean)
    labels = clean.take(coded.indices)

    best = offsets[:-1].astype(np.int64)
    some = np.flatnonzero(lengths)
    if options.key_image == "view_rank" and len(some):
        known = pc.index_in(pc.fill_null(clean, ""), value_set=pa.array(list(_VIEW_RANKS)))
        rank_of_label = np.array([*_VIEW_RANKS.values(), _OTHER_VIEW_RANK])[np.asarray(pc.fill_null(known, -1))]
        ranks = np.append(rank_of_label, _VIEW_RANKS[""])[np.asarray(pc.fill_null(coded.indices, -1))]
        # The smallest rank, and of those the first in the list.
        order = ranks * len(flat) + np.arange(len(flat))
        best[some] = np.minimum.reduceat(order, offsets[:-1][some]) % len(flat)
    chosen = pa.array(best, mask=lengths == 0)

    def lists(values: pa.Array) -> pa.ListArray:
        return pa.ListArray.from_arrays(pa.array(offsets), values)

    return lists(flat), lists(labels), flat.take(chosen), labels.take(chosen)


def _refuse_repeated(files: Files) -> None:
    places: dict[str, list[str]] = {}
    for path, _, number, members in _pieces(files):
        for row, study in enumerate(members[KEY].to_pylist(), number + 1):
            places.setdefault(study, []).append(f"{files.relative(path)}:{row}")
    repeated = {study: found for study, found in places.items() if len(found) > 1}
    if repeated:
        first = list(repeated)[:3]
        named = ", ".join(chain.from_iterable(repeated[study] for study in first))
        raise DataError(f"study {', '.join(first)} stands more than once: {named}")


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
)
