"""Sections of MIMIC-CXR's reports: as the owners' script wrote them, or from the free text.

A report is plain text. A section starts at a line that begins with its name in capitals and a colon; reports were
dictated by many hands, so a section has many names, some misspelled. On top there may be a preliminary reading or an
addendum between lines of underscores; the report itself comes last, so the last text of a section counts. These are
also the rules of the script that the owners publish for the sections findings, impression and comparison; indication
is ours to find.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from rapidfuzz.distance import OSA

from instruct.errors import DataError
from instruct.sources.base import Files
from instruct.sources.csv_files import csv_columns, iter_csv
from instruct.sources.zip_archive import members

SECTIONS = ("findings", "impression", "last_paragraph", "comparison", "indication")

OBTAIN_REPORTS = (
    "Download mimic-cxr-reports.zip from https://physionet.org/content/mimic-cxr/ (credentialed access) and put it, or"
    " its folder files/, into this folder."
)
OBTAIN_SECTIONED = (
    "Make it with the owners' script create_section_files.py (https://github.com/MIT-LCP/mimic-cxr) and put it into"
    " this folder."
)

_BOUNDARY = re.compile(
    r"^[ \t]*(?:([A-Z][A-Z0-9 ()/,.&-]*?)[ \t]*:(?=\s|$)|(?:_{20,}|FINAL REPORT|FINAL ADDENDUM)[ \t]*$)", re.MULTILINE
)
_LETTER = re.compile("[A-Za-z]")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_FILE_NAME = re.compile(r"(?:^|/)s?(\d+)\.txt$")

_AT_A_TIME = 5_000

_text = pa.string()
_OTHER = "other"
_MAIN = ("findings", "impression")
_NAMES = {
    "EXAMINATION": _OTHER, "EXAM": _OTHER, "TYPE OF EXAMINATION": _OTHER, "TYPE OF EXAM": _OTHER,
    "TECHNIQUE": _OTHER, "STUDY": _OTHER, "PROCEDURE": _OTHER, "DATE": _OTHER, "COMMENT": _OTHER, "NOTE": _OTHER,
    "REFERENCE EXAM": "comparison", "REFERENCE EXAMINATION": "comparison", "PRIOR": "comparison",
    "CLINICAL INFO": "history",
}  # fmt: skip
# A name that holds one of these words, looked for in this order, is that section.
_PARTS = (
    ("IMPRESSION", "impression"), ("CONCLUSION", "impression"), ("FINDING", "findings"), ("REASON FOR", "indication"),
    ("INDICATION", "indication"), ("HISTORY", "history"), ("CLINICAL INFORMATION", "history"),
    ("COMPARISON", "comparison"), ("ADDENDUM", _OTHER), ("WET READ", _OTHER), ("WETREAD", _OTHER),
    ("NOTIFICATION", _OTHER), ("RECOMMENDATION", _OTHER),
)  # fmt: skip
_SPELLED = {
    "IMPRESSION": "impression", "FINDINGS": "findings", "INDICATION": "indication", "COMPARISON": "comparison",
    "COMPARISONS": "comparison", "HISTORY": "history", "EXAMINATION": _OTHER, "TECHNIQUE": _OTHER,
}  # fmt: skip
# Reports that name the examination and go on to describe it.
_EXAMINATION = re.compile(
    r"\b(CHEST|PORTABLE|VIEWS?|RADIOGRAPHS?|FRONTAL|RIBS|BONE WINDOW|(PA|AP) AND LAT(ERAL)?|LATERAL AND (PA|AP))\b"
)


@lru_cache(maxsize=4096)
def section_kind(name: str) -> str | None:
    """Which section a heading in capitals opens: one of :data:`SECTIONS`, ``history`` or ``other``; None if none."""
    name = " ".join(name.split()).strip(" .-")
    if name in _NAMES:
        return _NAMES[name]
    for part, kind in _PARTS:
        if part in name:
            return kind
    if len(name) > 5:
        for word, kind in _SPELLED.items():
            if OSA.distance(name, word, score_cutoff=1) <= 1:
                return kind
    return "findings" if _EXAMINATION.search(name) else None


def split_report(text: str) -> dict[str, str]:
    """Sections of a report, each on one line; a section without letters is not there.

    ``last_paragraph`` is what follows the first blank line of the last section of a report that has neither findings
    nor impression; ``indication`` is the history where there is no indication.
    """
    kind, start = _OTHER, 0
    sections: list[tuple[str, str]] = []
    for boundary in _BOUNDARY.finditer(text):
        opens = section_kind(boundary[1]) if boundary[1] else _OTHER
        if opens is None:  # a heading inside of a section
            continue
        sections.append((kind, text[start : boundary.start()]))
        kind, start = opens, boundary.end()
    sections.append((kind, text[start:]))
    sections = [(kind, part) for kind, part in sections if kind not in _MAIN or _LETTER.search(part)]
    if sections and not any(kind in _MAIN for kind, _ in sections):
        kind, part = sections.pop()
        part, *rest = _BLANK_LINE.split(part, maxsplit=1)
        sections += [(kind, part), ("last_paragraph", "".join(rest))]
    # The last text of a name stands.
    found = {kind: " ".join(part.split()) for kind, part in sections if kind != _OTHER and _LETTER.search(part)}
    if "indication" not in found and "history" in found:
        found["indication"] = found["history"]
    found.pop("history", None)
    return found


def iter_reports(files: Files) -> Iterator[tuple[str, str]]:
    """Name of each study that has a report, ``s50000001``, and the report; in the order of the files.

    Raises:
        DataError: the archive is cut off or damaged.
    """
    for path in files["reports"]:
        if path.suffix == ".zip":
            yield from ((f"s{match[1]}", _decoded(content)) for match, content in members(path, _FILE_NAME))
        elif match := _FILE_NAME.search(path.name):
            yield f"s{match[1]}", _decoded(path.read_bytes())


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def read_sections(files: Files, chosen: str) -> list[pa.Table]:
    """Report sections, in the order of the files they come from.

    Args:
        files: the source's files.
        chosen: the reader's option ``sections``.

    Returns:
        Tables with a column ``study`` and one for each section that is taken from there.

    Raises:
        DataError: the file that the sections are to come from is missing or malformed.
    """
    if chosen == "none":
        return []
    if chosen == "csv" and not files["sectioned"]:
        raise DataError(f"{files.root}: sectioned reports not found: mimic_cxr_sectioned.csv. {OBTAIN_SECTIONED}")
    sectioned = files["sectioned"] if chosen != "reports" else ()
    # The owners' script finds no indication; a changed one may.
    given = [name for path in sectioned for name in SECTIONS if name != "indication" or name in csv_columns(path)]
    wanted = [name for name in SECTIONS if name not in given]
    if wanted and not files["reports"] and chosen != "csv":
        raise DataError(
            f"{files.root}: reports not found; expected mimic-cxr-reports.zip or files/p*/p*/s*.txt. {OBTAIN_REPORTS}"
            " To do without them, set sources.mimic_cxr.options.sections in the recipe: csv (without indications, if"
            " the CSV file has none) or none (without texts)."
        )
    reported = [_reported(files, wanted)] if wanted and files["reports"] else []
    return reported + [_sectioned(path, given) for path in sectioned]


def _reported(files: Files, names: list[str]) -> pa.Table:
    """Sections found in the reports; of two reports of a study the last one counts."""
    schema = pa.schema([("study", _text), *((name, _text) for name in names)])
    batches = []
    found = ((study, split_report(report)) for study, report in iter_reports(files))
    while piece := list(islice(found, _AT_A_TIME)):  # Arrow holds texts in a fraction of the memory
        columns = [[study for study, _ in piece], *([sections.get(name) for _, sections in piece] for name in names)]
        batches.append(pa.record_batch([pa.array(column, _text) for column in columns], schema=schema))
    table = pa.Table.from_batches(batches, schema)
    if pc.count_distinct(table["study"]).as_py() < len(table):
        last = {study: row for row, study in enumerate(table["study"].to_pylist())}
        table = table.take(pa.array(last.values(), pa.int64()))
    return table


def _sectioned(path: Path, names: list[str]) -> pa.Table:
    """Sections of the owners' script."""
    schema = pa.schema([("study", _text), *((name, _text) for name in names)])
    pieces = iter_csv(path, dict(zip(schema.names, schema.types, strict=True)))
    table = pa.Table.from_batches([_cleaned(batch) for piece in pieces for batch in piece.to_batches()], schema)
    if pc.count_distinct(table["study"]).as_py() != len(table):
        counts = pc.value_counts(table["study"])
        study = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")[0]
        raise DataError(f"{path}: study {study} stands twice; expected one row for each study")
    return table


def _cleaned(batch: pa.RecordBatch) -> pa.RecordBatch:
    study, *texts = batch.columns
    study = pc.replace_substring_regex(study, pattern="^s?", replacement="s")
    return pa.record_batch([study, *map(_one_line, texts)], schema=batch.schema)


def _one_line(texts: pa.Array) -> pa.Array:
    """Texts on one line; null where there is no letter."""
    texts = pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, r"\s+", " "))
    return pc.if_else(pc.match_substring_regex(texts, "[A-Za-z]"), texts, pa.scalar(None, _text))
