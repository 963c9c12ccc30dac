"""The owners' own splits, read from their files where these are on disk.

Sets derived from MIMIC-CXR carry its study numbers but not its split. Where MIMIC-CXR's own rows are in a build, the
keys tell; where they are not, its list (``mimic-cxr-2.0.0-split.csv``) does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from instruct.sources import get_source
from instruct.sources.csv_files import read_csv
from instruct.sources.mimic_keys import numbered_keys

SOURCE = "mimic_cxr"
_INPUT = "split"
_SPLITS = {"train": "train", "validate": "val", "test": "test"}


def official_splits(roots: Mapping[str, Path]) -> pa.Table:
    """Studies and the split that their owners put them into: columns ``key`` (namespace/study) and ``split``.

    Args:
        roots: source to its folder, for the sources on disk.

    Raises:
        DataError: a list is malformed.
    """
    schema = pa.schema([("key", pa.string()), ("split", pa.string())])
    path = _split_file(roots.get(SOURCE))
    if path is None:
        return schema.empty_table()
    table = read_csv(path, {"study_id": pa.string(), "split": pa.string()})
    studies = numbered_keys(table["study_id"], "s", path, "study_id")
    splits = pc.index_in(table["split"].combine_chunks(), pa.array(list(_SPLITS)))
    names = pa.array(list(_SPLITS.values())).take(splits)
    keys = pc.binary_join_element_wise(SOURCE, studies, "/")
    # One row per image there, one per study here.
    return pa.table([keys, names], schema=schema).group_by(["key", "split"]).aggregate([]).select(["key", "split"])


def _split_file(root: Path | None) -> Path | None:
    if root is None:
        return None
    (item,) = [item for item in get_source(SOURCE).inputs if item.name == _INPUT]
    return next((path for pattern in item.patterns for path in sorted(root.glob(pattern)) if path.is_file()), None)
