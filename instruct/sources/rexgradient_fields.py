"""Fields of ReXGradient's records, as columns: what is missing, dates, ages and numbers of texts."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

NO_TEXT = pa.scalar(None, pa.string())
_MISSING = pa.array(["", "none", "none.", "n/a", "unknown", "nan"])
_LONGEST_MISSING = 7
_YEARS_PER_UNIT = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


class FieldError(ValueError):
    """A record's fields do not agree, or hold what they cannot."""


def present(texts: pa.Array) -> pa.Array:
    """Texts trimmed; null for every spelling of a missing value."""
    texts = pc.utf8_trim_whitespace(texts)
    # Only short texts can be a word for "missing"; reports need not be lower-cased to see that they are not.
    short = pc.less_equal(pc.fill_null(pc.binary_length(texts), 0), _LONGEST_MISSING)
    words = pc.utf8_lower(pc.if_else(short, texts, "x"))
    missing = pc.is_in(words, value_set=_MISSING)
    return pc.if_else(missing, NO_TEXT, texts) if pc.any(missing).as_py() else texts


def dates(keys: pa.StringArray, written: pa.Array) -> pa.Array:
    """Dates written as YYYYMMDD; null where there is none.

    Raises:
        FieldError: one is no such date; the message names the record by its key.
    """
    good = pc.fill_null(pc.match_substring_regex(written, r"^\d{8}$"), True)
    try:
        if pc.all(good).as_py():
            found = pc.strptime(written, format="%Y%m%d", unit="s").cast(pa.date32())
            # The 30th of February would become the 2nd of March.
            day = pc.utf8_slice_codeunits(written, 6, 8).cast(pa.int64())
            good = pc.fill_null(pc.equal(pc.day(found), day), True)
            if pc.all(good).as_py():
                return found
        bad = pc.index(good, False).as_py()
    except pa.ArrowInvalid:
        bad = next(index for index, date in enumerate(written.to_pylist()) if date and not _is_date(date))
    key = keys[bad].as_py()
    raise FieldError(f"record {key!r} has StudyDate {written[bad].as_py()!r}; expected a date as YYYYMMDD")


def _is_date(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y%m%d")
    except ValueError:
        return False
    return True


def ages(texts: pa.Array) -> pa.Array:
    """Years of DICOM age strings such as 062Y, 007M, 003W, 002D; null where there is none."""
    parts = pc.extract_regex(texts, r"^(?P<number>\d{1,3})(?P<unit>[YMWD])$")
    numbers = pc.struct_field(parts, "number").cast(pa.float64())
    unit = pc.index_in(pc.struct_field(parts, "unit"), value_set=pa.array(list(_YEARS_PER_UNIT)))
    return pc.multiply(numbers, pa.array(list(_YEARS_PER_UNIT.values())).take(unit))


def numbers(texts: pa.StringArray) -> pa.DoubleArray:
    """Numbers of texts; null where one is none."""
    try:
        return texts.cast(pa.float64())
    except pa.ArrowInvalid:
        return pa.array(map(_number, texts.to_pylist()), pa.float64(), size=len(texts))


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
