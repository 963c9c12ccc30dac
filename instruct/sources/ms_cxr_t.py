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
from instruct.sources.files import origins, read_csv
from instruct.sources.mimic_keys import image_paths, numbered_keys

FINDINGS = ("consolidation", "edema", "pleural_effusion", "pneumonia", "pneumothorax")
PROGRESSIONS = ("improving", "stable", "worsening")
CATEGORIES = ("paraphrase", "contradiction")

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
            column("subset", _text, "how the pair was made; null where the file does not say"),
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
        dicom_ids = _dicom_ids(table[f"{prefix}dicom_id"], patients, studies, path, f"{prefix}dicom_id")
        shared[f"{prefix}study"] = studies
        shared[f"{prefix}image"] = image_paths(patients, studies, dicom_ids)
    shared["number"] = pa.array(range(1, len(table) + 1), pa.int64())
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


def _dicom_ids(
    values: pa.ChunkedArray, patients: pa.Array, studies: pa.Array, file: Path, column_name: str
) -> pa.Array:
    """DICOM ids of a column that holds paths without extension, ``p10/p1.../s5.../<dicom id>``, or the ids alone."""
    given = values.combine_chunks()
    paths = [None if path is None else path.removesuffix(".jpg") for path in given.to_pylist()]
    last = pa.array([None if path is None else path[path.rfind("/") + 1 :] for path in paths], _text)
    expected = pc.binary_join_element_wise("", patients, studies, last, "/").to_pylist()
    for index, (path, tail) in enumerate(zip(paths, expected, strict=True)):
        if path is None or ("/" in path and not f"/{path}".endswith(tail)):
            form = f"p../{patients[index].as_py()}/{studies[index].as_py()}/<dicom id>"
            raise DataError(f"{file}:{index + 2}: {column_name} is {given[index].as_py()!r}; expected {form}")
    return last


def _sentences(path: Path, name: str) -> pa.Table:
    texts = dict.fromkeys(("sentence_1", "sentence_2", "category"), _text)
    table = read_csv(path, texts, optional={"subset": _text})
    for column_name in texts:
        if table[column_name].null_count:
            line = pc.index(pc.is_null(table[column_name]), True).as_py() + 2
            raise DataError(f"{path}:{line}: {column_name} is empty; every pair needs two sentences and a category")
    categories = pc.utf8_lower(table["category"]).combine_chunks()
    _refuse_others(categories, CATEGORIES, path, "category")
    columns = [
        pa.array(range(1, len(table) + 1), pa.int64()),
        table["sentence_1"],
        table["sentence_2"],
        categories,
        table["subset"],
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
    folders=("ms_cxr_t", "ms-cxr-t", "MS-CXR-T", "mscxrt"),
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
    modules=("instruct.sources.ms_cxr_t", "instruct.sources.mimic_keys"),
)
