"""MIMIC-Diff-VQA: questions about MIMIC-CXR images, alone and against a reference image.

Layout: https://physionet.org/content/medical-diff-vqa (``mimic_pair_questions.csv``, ``mimic_all.csv``). Studies,
patients and images are MIMIC-CXR's; the image of a study is the frontal one that ``mimic_all.csv`` chose.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Source, Table, column
from instruct.sources.csv_files import read_csv
from instruct.sources.files import origins
from instruct.sources.mimic_keys import image_paths, numbered_keys

QuestionType = Literal["abnormality", "presence", "view", "location", "level", "type", "difference"]
TYPES: tuple[QuestionType, ...] = ("abnormality", "presence", "view", "location", "level", "type", "difference")
SPLITS = ("train", "val", "test")


class MimicDiffVqaOptions(Options):
    """Options of the MIMIC-Diff-VQA reader."""

    question_types: list[QuestionType] = Field(
        default=["location", "level", "type"],
        min_length=1,
        description="Types of question to read: abnormality, presence, view, location, level and type are about the "
        "main image alone, difference compares it with the reference image. The published row holds location, level "
        "and type, and no difference question.",
    )


_text = pa.string()
QUESTIONS = Table(
    "One row per question of the wanted types (option question_types), in file order.",
    pa.schema(
        [
            column("number", pa.int64(), "number of the row in the file, from 1", False),
            column("study", _text, "MIMIC-CXR study of the main image", False),
            column("reference_study", _text, "MIMIC-CXR study of the reference image", False),
            column("patient", _text, "MIMIC-CXR patient of both", False),
            column("question_type", _text, ", ".join(TYPES), False),
            column("question", _text, "the question", False),
            column("answer", _text, "the answer, in lower case as published; null where it is blank"),
            column("release_split", _text, "split of the release, which is not MIMIC-CXR's", False),
            column("origin", _text, "file and row", False),
        ]
    ),
)

STUDIES = Table(
    "One row per study, in file order.",
    pa.schema(
        [
            column("study", _text, "MIMIC-CXR study", False),
            column("patient", _text, "MIMIC-CXR patient", False),
            column("image", _text, "the study's chosen frontal image, as a path below MIMIC-CXR-JPG's files/", False),
            column("view", _text, "antero-posterior or postero-anterior"),
            column("date", pa.date32(), "shifted date of the study"),
            column("study_order", pa.float64(), "rank of the date among the patient's studies; equal on one day"),
            column("origin", _text, "file and row", False),
        ]
    ),
)


def read(files: Files, options: MimicDiffVqaOptions) -> dict[str, pa.Table]:
    """Read the questions and the studies they are about.

    Raises:
        DataError: a column is missing, a cell is not of its type, a study stands twice, or a type is unknown.
    """
    (questions,) = files["questions"]
    (studies,) = files["studies"]
    return {
        "questions": _questions(questions, files.relative(questions), options.question_types),
        "studies": _studies(studies, files.relative(studies)),
    }


def _questions(path: Path, name: str, types: list[QuestionType]) -> pa.Table:
    keys = dict.fromkeys(("study_id", "ref_id", "subject_id"), pa.int64())
    texts = dict.fromkeys(("question_type", "question", "answer", "split"), _text)
    table = read_csv(path, {**keys, **texts}).combine_chunks()
    for column_name, known in (("question_type", TYPES), ("split", SPLITS), ("question", None)):
        values = table[column_name]
        good = pc.is_valid(values) if known is None else pc.is_in(values, value_set=pa.array(known))
        if not pc.all(good, min_count=0).as_py():
            index = pc.index(good, False).as_py()
            wanted = f"one of {', '.join(known)}" if known else "a text"
            raise DataError(f"{path}:{index + 2}: {column_name} is {values[index].as_py()!r}; expected {wanted}")
    rows = np.flatnonzero(np.asarray(pc.is_in(table["question_type"], value_set=pa.array(types, _text))))
    table = table.take(pa.array(rows))
    prefixes = (("study_id", "s"), ("ref_id", "s"), ("subject_id", "p"))
    columns = [
        pa.array(rows + 1),
        *(numbered_keys(table[column], prefix, path, column, rows + 2) for column, prefix in prefixes),
        *(table[column_name] for column_name in texts),
        pc.binary_join_element_wise(name, pa.array(rows + 1).cast(_text), ":"),
    ]
    return pa.table(columns, schema=QUESTIONS.schema)


def _studies(path: Path, name: str) -> pa.Table:
    needed = {"study_id": pa.int64(), "subject_id": pa.int64(), "dicom_id": _text}
    more = {"view": _text, "study_date": _text, "study_order": pa.float64()}
    table = read_csv(path, needed, optional=more).combine_chunks()
    if table["dicom_id"].null_count:
        line = pc.index(pc.is_null(table["dicom_id"]), True).as_py() + 2
        raise DataError(f"{path}:{line}: dicom_id is empty; every study needs its image")
    studies = numbered_keys(table["study_id"], "s", path, "study_id")
    patients = numbered_keys(table["subject_id"], "p", path, "subject_id")
    try:
        # Written as a number, in some copies as 21800506.0.
        days = pc.replace_substring_regex(table["study_date"], pattern=r"\.0$", replacement="")
        dates = pc.strptime(days, format="%Y%m%d", unit="s").cast(pa.date32())
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: a study_date is no date of the form YYYYMMDD: {error}") from None
    columns = [
        studies,
        patients,
        image_paths(patients, studies, table["dicom_id"].combine_chunks()),
        table["view"],
        dates,
        table["study_order"],
        origins(name, len(table)),
    ]
    _refuse_repeated(studies, path)
    return pa.table(columns, schema=STUDIES.schema)


def _refuse_repeated(studies: pa.Array, path: Path) -> None:
    if pc.count_distinct(studies).as_py() == len(studies):
        return
    counts = pc.value_counts(studies)
    twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")[0]
    first, second = pc.indices_nonzero(pc.equal(studies, twice)).to_pylist()[:2]
    raise DataError(f"{path}:{second + 2}: study {twice.as_py()} stands also at line {first + 2}")


_OBTAIN = "Sign the agreement of medical-diff-vqa on PhysioNet (credentialed access) and download it."

SOURCE = Source(
    name="mimic_diff_vqa",
    title="MIMIC-Diff-VQA (Medical-Diff-VQA)",
    homepage="https://physionet.org/content/medical-diff-vqa",
    folders=(
        "mimic_diff_vqa",
        "medical-diff-vqa",
        "mimic-diff-vqa",
        "MIMIC-Diff-VQA",
        "physionet.org/files/medical-diff-vqa",
    ),
    inputs=tuple(
        Input(name, tuple(f"{folder}{file}{end}" for folder in ("", "*/") for end in ("", ".gz")), _OBTAIN)
        for name, file in (("questions", "mimic_pair_questions.csv"), ("studies", "mimic_all.csv"))
    ),
    image_folders=("files",),
    tables={"questions": QUESTIONS, "studies": STUDIES},
    read=read,
    options=MimicDiffVqaOptions,
)
