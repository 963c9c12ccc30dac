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
        lettered = pc.starts_with(flat, prefix)
        bare = (
            pc.if_else(lettered, pc.utf8_slice_codeunits(flat, len(prefix)), flat) if pc.any(lettered).as_py() else flat
        )
        digits = pc.and_(pc.ascii_is_decimal(bare), pc.string_is_ascii(bare))
        good = pc.and_(digits, pc.equal(pc.binary_length(bare), 8))
    good = pc.fill_null(good, False)
    if not pc.all(good, min_count=0).as_py():
        index = pc.index(good, False).as_py()
        line = lines + index if isinstance(lines, int) else lines[index]
        raise DataError(
            f"{path}:{line}: {column} is {flat[index].as_py()!r}; expected a MIMIC-CXR number of eight digits"
        )
    return pc.binary_replace_slice(bare, 0, 0, prefix)


def path_parts(paths: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, pa.Array, pa.Array]:
    """The last three parts of paths, ``.../p10000032/s50414267/<name>``: patient, study and name.

    A part that a path does not have is empty, and all are of a path that is null.
    """
    flat = paths.combine_chunks() if isinstance(paths, pa.ChunkedArray) else paths
    # With three more slashes, so that the last four parts are always there.
    slashed = pc.binary_join_element_wise("///", pc.fill_null(flat, ""), "")
    parts = pc.split_pattern(slashed, "/", max_splits=3, reverse=True)
    return pc.list_element(parts, 1), pc.list_element(parts, 2), pc.list_element(parts, 3)


def are_keys(values: pa.Array, prefix: str) -> pa.Array:
    """Whether texts are keys: the prefix and eight digits."""
    digits = pc.utf8_slice_codeunits(values, len(prefix))
    return pc.and_(
        pc.and_(pc.starts_with(values, prefix), pc.equal(pc.binary_length(values), len(prefix) + 8)),
        pc.and_(pc.ascii_is_decimal(digits), pc.string_is_ascii(digits)),
    )


def image_folders(patients: pa.Array, studies: pa.Array) -> pa.Array:
    """Folders of studies' images below ``files/``, from keys: ``p10/p10000032/s50414267/``."""
    groups = pc.binary_slice(patients.cast(pa.binary()), 0, 3).cast(pa.string())
    return pc.binary_join_element_wise(groups, patients, studies, "", "/")


def image_paths(patients: pa.Array, studies: pa.Array, dicom_ids: pa.Array) -> pa.Array:
    """Image paths below ``files/``, from keys and DICOM ids."""
    names = pc.binary_join_element_wise(dicom_ids, "jpg", ".")
    return pc.binary_join_element_wise(image_folders(patients, studies), names, "")
