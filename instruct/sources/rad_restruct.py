"""Rad-ReStruct (count table: Rad-Restruct): structured reports of OpenI studies, asked question by question.

Layout: https://github.com/ChantalMP/Rad-ReStruct, folder ``data/radrestruct``. Report number ``n`` is OpenI's
``CXR<n>``, and the images are OpenI's. Of a report's files only its questions are read; the structured report and the
vector of answers say the same in other forms.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Source, Table, column
from instruct.sources.files import read_json
from instruct.sources.rad_restruct_questions import QUESTIONS, Report, questions_of

SPLITS = ("train", "val", "test")
_REPORTS_AT_A_TIME = 100

_text = pa.string()
_texts = pa.list_(_text)
REPORTS = Table(
    "One row per report, train before val before test, ordered by number.",
    pa.schema(
        [
            column("report", pa.int32(), "number of the report", False),
            column("study", _text, "OpenI study: CXR and the number", False),
            column("split", _text, "train, val or test: the folder it lies in", False),
            column("images", _texts, "OpenI file names of its frontal images, in the mapping's order", False),
            column("questions", pa.int32(), "number of its questions", False),
            column("origin", _text, "file of its questions", False),
        ]
    ),
)


def read(files: Files, options: Options) -> dict[str, pa.Table]:
    """Read the questions of every report, and which images it has.

    Raises:
        DataError: a file is malformed, an answer is not among its options, a report is listed for a split and has no
            file there or the reverse, stands in two splits, or has no images in the mapping.
    """
    images = _images(files)
    found = _report_files(files)
    counts: list[int] = []
    parts = [QUESTIONS.schema.empty_table()]
    for start in range(0, len(found), _REPORTS_AT_A_TIME):
        some = found[start : start + _REPORTS_AT_A_TIME]
        questions, numbers = questions_of(files, some)
        parts.append(questions)
        counts += numbers
    for _, number, path in found:
        if not images.get(number):
            (mapping,) = files["images"]
            raise DataError(f"{mapping}:1: no image of report {number}, whose questions are in {path}")
    reports = [
        pa.array([number for _, number, _ in found], pa.int32()),
        pa.array([f"CXR{number}" for _, number, _ in found], _text),
        pa.array([split for split, *_ in found], _text),
        pa.array([images[number] for _, number, _ in found], _texts),
        pa.array(counts, pa.int32()),
        pa.array([files.relative(path) for *_, path in found], _text),
    ]
    return {"reports": pa.table(reports, schema=REPORTS.schema), "questions": pa.concat_tables(parts)}


def _images(files: Files) -> dict[int, list[str]]:
    """Report number to the file names of its images."""
    (path,) = files["images"]
    mapping = read_json(path)
    if not isinstance(mapping, dict):
        raise DataError(f"{path}:1: expected {{report number: [image, ...]}}, found {type(mapping).__name__}")
    named = {}
    for key, stems in mapping.items():
        if not key.isdecimal() or not isinstance(stems, list):
            raise DataError(f"{path}:1: {key!r} is not a report number with a list of images")
        named[int(key)] = [f"{stem.removesuffix('.png')}.png" for stem in stems]
    return named


def _report_files(files: Files) -> list[Report]:
    """Split, report number and file of every report, held against the lists of the splits."""
    found: list[Report] = []
    places: dict[int, Path] = {}
    for split in SPLITS:
        numbered = []
        for path in files[f"{split}_questions"]:
            if not path.stem.isdecimal():
                raise DataError(f"{path}:1: the file should be named by its report number, such as 1234.json")
            numbered.append((split, int(path.stem), path))
        found += sorted(numbered, key=lambda item: item[1])
        _hold_against_list(files, split, {number for _, number, _ in numbered})
    for _, number, path in found:
        if number in places:
            raise DataError(f"{path}:1: report {number} stands also in another split, in {places[number]}")
        places[number] = path
    return found


def _hold_against_list(files: Files, split: str, numbers: set[int]) -> None:
    for path in files[f"{split}_ids"]:
        try:
            listed = {int(number) for number in read_json(path)}
        except (TypeError, ValueError):
            raise DataError(f"{path}:1: expected a list of report numbers") from None
        differing = {"listed and has no file": listed - numbers, "not listed and has a file": numbers - listed}
        for kind, odd in differing.items():
            if odd:
                raise DataError(
                    f"{path}:1: report {min(odd)} is {kind} in {split}_qa_pairs ({len(odd):,} such reports); "
                    "get the folder again"
                )


_OBTAIN = "Clone https://github.com/ChantalMP/Rad-ReStruct (MIT); its folder data/radrestruct is the source."
_FOLDERS = ("", "data/radrestruct/", "radrestruct/")

SOURCE = Source(
    name="rad_restruct",
    title="Rad-ReStruct",
    homepage="https://github.com/ChantalMP/Rad-ReStruct",
    folders=("rad_restruct", "Rad-ReStruct", "Rad-Restruct", "rad-restruct", "radrestruct"),
    inputs=(
        *(
            Input(f"{split}_questions", tuple(f"{folder}{split}_qa_pairs/*.json" for folder in _FOLDERS), _OBTAIN)
            for split in SPLITS
        ),
        Input("images", tuple(f"{folder}id_to_img_mapping_frontal_reports.json" for folder in _FOLDERS), _OBTAIN),
        *(
            Input(
                f"{split}_ids",
                tuple(f"{folder}{split}_ids.json" for folder in _FOLDERS),
                "Comes with the questions; shows a report that was lost.",
                required=False,
            )
            for split in SPLITS
        ),
    ),
    image_folders=("images", "data/radrestruct/images", "radrestruct/images"),
    tables={"reports": REPORTS, "questions": QUESTIONS},
    read=read,
)
