"""Keys of MIMIC-CXR, as every set derived from it writes them.

A study is ``s`` and its number, a patient ``p`` and its number, an image its path below the folder ``files`` of
MIMIC-CXR-JPG: ``p10/p10000032/s50414267/<dicom id>.jpg``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError


def numbered_keys(
    values: pa.Array | pa.ChunkedArray,
    prefix: str,
    path: Path,
    column: str,
    lines: Sequence[int] | npt.NDArray[np.int64] | int = 2,
) -> pa.Array:
    """Keys from numbers, written with their letter or without.

    Args:
        values: whole numbers, or texts such as ``50414267`` or ``s50414267``.
        prefix: ``s`` for studies, ``p`` for patients.
        path: the file they come from, for messages.
        column: their name in it, for messages.
        lines: line of each value, or of the first one, for messages.

    Raises:
        DataError: a value is missing or is no number of eight digits.
    """
    flat = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if pa.types.is_integer(flat.type):
        bare = flat.cast(pa.string())
        good = pc.and_(pc.greater_equal(flat, 10**7), pc.less(flat, 10**8))
    else:
        # Without regular expressions, which would take most of the time of a reader.
        bare = pc.if_else(pc.starts_with(flat, prefix), pc.utf8_slice_codeunits(flat, len(prefix)), flat)
        digits = pc.and_(pc.ascii_is_decimal(bare), pc.string_is_ascii(bare))
        good = pc.and_(digits, pc.equal(pc.binary_length(bare), 8))
    good = pc.fill_null(good, False)
    if not pc.all(good, min_count=0).as_py():
        index = pc.index(good, False).as_py()
        line = lines + index if isinstance(lines, int) else lines[index]
        raise DataError(
            f"{path}:{line}: {column} is {flat[index].as_py()!r}; expected a MIMIC-CXR number of eight digits"
        )
    return pc.binary_join_element_wise(prefix, bare, "")


def image_paths(patients: pa.Array, studies: pa.Array, dicom_ids: pa.Array) -> pa.Array:
    """Image paths below ``files/``, from keys and DICOM ids."""
    folders = pc.utf8_slice_codeunits(patients, 0, 3)
    return pc.binary_join_element_wise(
        folders, patients, studies, pc.binary_join_element_wise(dicom_ids, "jpg", "."), "/"
    )
