"""ReXVal: errors that six radiologists counted in candidate reports of 50 MIMIC-CXR studies.

Layout: https://physionet.org/content/rexval-dataset (release 1.0.0): the reports, and one row per rater, candidate,
error category and significance. The ratings name a study by the row of the report table it stands in, from 0.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Source, Table, column
from instruct.sources.csv_files import read_csv
from instruct.sources.files import origins
from instruct.sources.mimic_keys import numbered_keys

METHODS = ("radgraph", "bertscore", "s_emb", "bleu")
CATEGORIES = (
    "false finding",
    "missing finding",
    "wrong location",
    "wrong severity",
    "comparison that the reference does not make",
    "missing comparison",
)
"""Error categories 1 to 6."""

_text = pa.string()
CANDIDATES = Table(
    "One row per candidate report: four for each study, in the order of the file.",
    pa.schema(
        [
            column("number", pa.int32(), "row of the study in the file, from 0, as the ratings name it", False),
            column("study", _text, "MIMIC-CXR study: s and its number", False),
            column("method", _text, "metric that retrieved the candidate: radgraph, bertscore, s_emb or bleu", False),
            column("reference", _text, "impression that a radiologist wrote for the study", False),
            column("candidate", _text, "impression of another study", False),
            column("origin", _text, "file and row", False),
        ]
    ),
)

RATINGS = Table(
    "One row per rater, candidate, error category and significance; what a rater left out has no row.",
    pa.schema(
        [
            column("number", pa.int32(), "row of the study in the file of reports, from 0", False),
            column("method", _text, "which candidate of the study", False),
            column("category", pa.int32(), "error category, 1 to 6", False),
            column("rater", pa.int32(), "number of the rater", False),
            column("significant", pa.bool_(), "whether it counts clinically significant errors, or the others", False),
            column("errors", pa.int32(), "number of errors", False),
            column("origin", _text, "file and row", False),
        ]
    ),
)

ERROR_CATEGORIES = Table(
    "The six error categories.",
    pa.schema(
        [
            column("category", pa.int32(), "number of the category, 1 to 6", False),
            column("name", _text, "what kind of error it is", False),
        ]
    ),
)


def read(files: Files, options: Options) -> dict[str, pa.Table]:
    """Read the reports and the ratings.

    Raises:
        DataError: a column or cell is missing, or a rating is about no candidate or counts no whole number of errors.
    """
    (reports,) = files["reports"]
    (ratings,) = files["ratings"]
    candidates = _candidates(reports, files.relative(reports))
    numbers = pa.array(range(1, len(CATEGORIES) + 1), pa.int32())
    return {
        "candidates": candidates,
        "ratings": _ratings(ratings, files.relative(ratings), len(candidates) // len(METHODS)),
        "categories": pa.table([numbers, pa.array(CATEGORIES, _text)], schema=ERROR_CATEGORIES.schema),
    }


def _candidates(path: Path, name: str) -> pa.Table:
    table = read_csv(path, dict.fromkeys(("study_id", "gt_report", *METHODS), _text))
    count = len(table)
    for text in ("gt_report", *METHODS):
        if table[text].null_count:
            row = pc.index(pc.is_null(table[text]), True).as_py() + 1
            raise DataError(f"{path}: row {row}: {text} is empty; every study has a reference and four candidates")
    by_method = [
        pa.table(
            [
                pa.array(range(count), pa.int32()),
                numbered_keys(table["study_id"], "s", path, "study_id"),
                pa.array([method] * count, _text),
                table["gt_report"],
                table[method],
                origins(name, count),
            ],
            schema=CANDIDATES.schema,
        )
        for method in METHODS
    ]
    order = [method * count + row for row in range(count) for method in range(len(METHODS))]
    return pa.concat_tables(by_method).take(pa.array(order, pa.int64())).combine_chunks()


def _ratings(path: Path, name: str, studies: int) -> pa.Table:
    table = read_csv(
        path,
        {
            **dict.fromkeys(("study_number", "error_category", "rater_index"), pa.int32()),
            "candidate_type": _text,
            "clinically_significant": pa.bool_(),
            "num_errors": pa.float64(),  # written 1 or 1.0
        },
    )
    rated = table.append_column("origin", origins(name, len(table))).combine_chunks()
    if table["num_errors"].null_count:
        rated = rated.filter(pc.is_valid(table["num_errors"]))
    errors = rated["num_errors"].cast(pa.int32(), safe=False)
    for column_name, good, expected in (
        ("study_number", _between(rated["study_number"], 0, studies - 1), f"a row of the reports, 0 to {studies - 1}"),
        ("error_category", _between(rated["error_category"], 1, len(CATEGORIES)), f"1 to {len(CATEGORIES)}"),
        ("candidate_type", pc.is_in(rated["candidate_type"], value_set=pa.array(METHODS)), ", ".join(METHODS)),
        ("rater_index", pc.is_valid(rated["rater_index"]), "a number"),
        ("clinically_significant", pc.is_valid(rated["clinically_significant"]), "True or False"),
        ("num_errors", pc.and_(pc.equal(rated["num_errors"], errors), pc.greater_equal(errors, 0)), "a whole number"),
    ):
        _refuse(rated, good, column_name, expected, path)
    columns = [
        rated["study_number"],
        rated["candidate_type"],
        rated["error_category"],
        rated["rater_index"],
        rated["clinically_significant"],
        errors,
        rated["origin"],
    ]
    return pa.table(columns, schema=RATINGS.schema)


def _between(values: pa.ChunkedArray, lowest: int, highest: int) -> pa.ChunkedArray:
    return pc.and_(pc.greater_equal(values, lowest), pc.less_equal(values, highest))


def _refuse(table: pa.Table, good: pa.ChunkedArray, column_name: str, expected: str, path: Path) -> None:
    index = pc.index(pc.fill_null(good, False), False).as_py()
    if index >= 0:
        row, value = table["origin"][index].as_py().rpartition(":")[2], table[column_name][index].as_py()
        raise DataError(f"{path}: row {row}: {column_name} is {value!r}; expected {expected}")


_OBTAIN = "Sign the agreement of rexval-dataset on PhysioNet (credentialed access) and download it."

SOURCE = Source(
    name="rexval",
    title="ReXVal",
    homepage="https://physionet.org/content/rexval-dataset",
    folders=("rexval", "ReXVal", "rexval-dataset", "physionet.org/files/rexval-dataset"),
    inputs=(
        Input(
            "reports", tuple(f"{folder}50_samples_gt_and_candidates.csv" for folder in ("", "1.0.0/", "*/")), _OBTAIN
        ),
        Input(
            "ratings",
            tuple(f"{folder}6_valid_raters_per_rater_error_categories.csv" for folder in ("", "1.0.0/", "*/")),
            _OBTAIN,
        ),
    ),
    image_folders=("images",),
    tables={"candidates": CANDIDATES, "ratings": RATINGS, "categories": ERROR_CATEGORIES},
    read=read,
)
