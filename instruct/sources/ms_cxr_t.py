"""MS-CXR-T: how findings develop between two MIMIC-CXR images, and pairs of sentences about change.

Layout: https://physionet.org/content/ms-cxr-t (release 1.0.0). Studies, patients and images are MIMIC-CXR's; the
sentences carry no study.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Source, Table, column
from instruct.sources.csv_files import read_csv
from instruct.sources.files import origins
from instruct.sources.mimic_keys import image_folders, numbered_keys, path_parts

FINDINGS = ("consolidation", "edema", "pleural_effusion", "pneumonia", "pneumothorax")
PROGRESSIONS = ("improving", "stable", "worsening")
CATEGORIES = ("paraphrase", "contradiction")
_FOLDER = len("p10/p10000032/s50414267/")

_text = pa.string()
COMPARISONS = Table(
    "One row per image pair and finding that has a label.",
    pa.schema(
        [
            column("number", pa.int64(), "number of the image pair: its row in the file, from 1", False),
            column("finding", _text, "the finding, in lower case: consolidation, edema, pleural effusion, ...", False),
            column("progression", _text, "improving, stable or worsening", False),
            column("label_quality", _text, "one_expert, multiple_experts or disagreement"),
            column("study", _text, "MIMIC-CXR study of the current image", False),
            column("image", _text, "current image, as a path below MIMIC-CXR-JPG's files/", False),
            column("previous_study", _text, "MIMIC-CXR study of the previous image", False),
            column("previous_image", _text, "previous image", False),
            column("patient", _text, "MIMIC-CXR patient of both", False),
            column("origin", _text, "file and row of the image pair", False),
        ]
    ),
)

SENTENCES = Table(
    "One row per pair of sentences.",
    pa.schema(
        [
            column("number", pa.int64(), "number of the pair: its row in the file, from 1", False),
            column("sentence_1", _text, "first sentence", False),
            column("sentence_2", _text, "second sentence", False),
            column("category", _text, "paraphrase or contradiction", False),
            column("subset", _text, "subset_name: how the pair was made; null where the file does not say"),
            column("origin", _text, "file and row", False),
        ]
    ),
)


def read(files: Files, options: Options) -> dict[str, pa.Table]:
    """Read the image pairs and the sentence pairs.

    Raises:
        DataError: a column or cell is missing, a label is none of the known ones, or the two images of a pair are of
            two patients.
    """
    (pairs,) = files["comparisons"]
    (sentences,) = files["sentences"]
    return {
        "comparisons": _comparisons(pairs, files.relative(pairs)),
        "sentences": _sentences(sentences, files.relative(sentences)),
    }


def _comparisons(path: Path, name: str) -> pa.Table:
    keys = ("subject_id", "study_id", "dicom_id", "previous_study_id", "previous_dicom_id")
    progressions = dict.fromkeys((f"{finding}_progression" for finding in FINDINGS), _text)
    qualities = dict.fromkeys((f"{finding}_label_quality" for finding in FINDINGS), _text)
    table = read_csv(path, {**dict.fromkeys(keys, _text), **progressions}, optional=qualities)
    patients = numbered_keys(table["subject_id"], "p", path, "subject_id")
    shared: dict[str, pa.Array] = {"patient": patients, "origin": origins(name, len(table))}
    for prefix in ("", "previous_"):
        studies = numbered_keys(table[f"{prefix}study_id"], "s", path, f"{prefix}study_id")
        shared[f"{prefix}study"] = studies
        shared[f"{prefix}image"] = _images(table, f"{prefix}dicom_id", patients, studies, path)
    shared["number"] = pa.array(np.arange(1, len(table) + 1))
    labels = []
    for finding in FINDINGS:
        labels.append(pc.utf8_lower(table[f"{finding}_progression"]).combine_chunks())
        _refuse_others(labels[-1], PROGRESSIONS, path, f"{finding}_progression")
    names = sorted(FINDINGS, key=lambda finding: finding.replace("_", " "))
    order = [FINDINGS.index(finding) for finding in names]
    # Rows of the result in its order: file row by file row, the findings of a row by name.
    row, place = np.nonzero(np.stack([np.asarray(labels[index].is_valid()) for index in order], axis=1))
    at = pa.array(np.array(order)[place] * len(table) + row)
    graded = [table[f"{finding}_label_quality"].combine_chunks() for finding in FINDINGS]
    columns = {name: values.take(pa.array(row)) for name, values in shared.items()} | {
        "finding": pa.array([finding.replace("_", " ") for finding in names], _text).take(pa.array(place)),
        "progression": pa.concat_arrays(labels).take(at),
        "label_quality": pa.concat_arrays(graded).take(at),
    }
    return pa.table([columns[field.name] for field in COMPARISONS.schema], schema=COMPARISONS.schema)


def _images(table: pa.Table, column_name: str, patients: pa.Array, studies: pa.Array, file: Path) -> pa.Array:
    """Image paths of a column that holds them without extension, ``p10/p1.../s5.../<dicom id>``, or the ids alone."""
    given = table[column_name].combine_chunks()
    folders = image_folders(patients, studies)
    begins = pc.binary_slice(given.cast(pa.binary()), 0, _FOLDER).cast(_text)
    whole = pc.and_(pc.equal(begins, folders), pc.greater(pc.binary_length(given), _FOLDER))
    if pc.all(pc.fill_null(whole, False), min_count=0).as_py():
        images = given
    else:
        of_patient, of_study, ids = path_parts(given)
        named = pc.and_(pc.equal(of_patient, patients), pc.equal(of_study, studies))
        good = pc.and_(pc.or_(named, pc.equal(of_study, "")), pc.not_equal(ids, ""))
        if not pc.all(good, min_count=0).as_py():
            row = pc.index(good, False).as_py()
            form = f"p../{patients[row].as_py()}/{studies[row].as_py()}/<dicom id>"
            raise DataError(f"{file}:{row + 2}: {column_name} is {given[row].as_py()!r}; expected {form}")
        images = pc.binary_join_element_wise(folders, ids, "")
    return pc.if_else(pc.ends_with(images, ".jpg"), images, pc.binary_join_element_wise(images, "jpg", "."))


def _sentences(path: Path, name: str) -> pa.Table:
    texts = dict.fromkeys(("sentence_1", "sentence_2", "category"), _text)
    table = read_csv(path, texts, optional={"subset_name": _text})
    for column_name in texts:
        if table[column_name].null_count:
            line = pc.index(pc.is_null(table[column_name]), True).as_py() + 2
            raise DataError(f"{path}:{line}: {column_name} is empty; every pair needs two sentences and a category")
    categories = pc.utf8_lower(table["category"]).combine_chunks()
    _refuse_others(categories, CATEGORIES, path, "category")
    columns = [
        pa.array(np.arange(1, len(table) + 1)),
        table["sentence_1"],
        table["sentence_2"],
        categories,
        table["subset_name"],
        origins(name, len(table)),
    ]
    return pa.table(columns, schema=SENTENCES.schema)


def _refuse_others(values: pa.Array, known: tuple[str, ...], path: Path, column_name: str) -> None:
    """Refuse a value that is neither missing nor known."""
    good = pc.or_(pc.is_null(values), pc.is_in(values, value_set=pa.array(known)))
    if not pc.all(good, min_count=0).as_py():
        index = pc.index(good, False).as_py()
        raise DataError(
            f"{path}:{index + 2}: {column_name} is {values[index].as_py()!r}; expected {', '.join(known)} or nothing"
        )


_OBTAIN = "Sign the agreement of ms-cxr-t on PhysioNet (credentialed access) and download it."

SOURCE = Source(
    name="ms_cxr_t",
    title="MS-CXR-T",
    homepage="https://physionet.org/content/ms-cxr-t",
    folders=("ms_cxr_t", "ms-cxr-t", "MS-CXR-T", "mscxrt", "physionet.org/files/ms-cxr-t"),
    inputs=tuple(
        Input(
            name,
            (f"MS_CXR_T_{file}_v1.0.0.csv", f"MS_CXR_T_{file}_v*.csv", f"*/MS_CXR_T_{file}_v1.0.0.csv"),
            _OBTAIN,
        )
        for name, file in (
            ("comparisons", "temporal_image_classification"),
            ("sentences", "temporal_sentence_similarity"),
        )
    ),
    image_folders=("files",),
    tables={"comparisons": COMPARISONS, "sentences": SENTENCES},
    read=read,
)
