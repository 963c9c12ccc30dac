"""Where sources lie on disk: below the data root, by their usual folder names, or where the recipe says."""

from __future__ import annotations

import os
from pathlib import Path

from instruct.errors import DataError
from instruct.sources import Source, get_source, source_names

ROOT_VARIABLE = "CXR_INSTRUCT_ROOT_"


def find_root(source: Source, data_root: Path | None, given: Path | None = None) -> Path | None:
    """The folder of a source, None where it is not on disk.

    Looked at in this order: the recipe's ``root``, the environment variable ``CXR_INSTRUCT_ROOT_<SOURCE>``, the usual
    folder names below the data root, the data root itself.

    Raises:
        DataError: a folder that was named does not exist.
    """
    variable = ROOT_VARIABLE + source.name.upper()
    for root, said_by in ((given, f"sources.{source.name}.root"), (os.environ.get(variable), f"${variable}")):
        if root is not None:
            if not Path(root).is_dir():
                raise DataError(f"{said_by} = {root}: there is no such folder")
            return Path(root).absolute()
    if data_root is None:
        return None
    if not data_root.is_dir():
        raise DataError(f"--data-root {data_root}: there is no such folder")
    for folder in source.folders:
        if (data_root / folder).is_dir() and source.present(data_root / folder):
            return (data_root / folder).absolute()
    # Without a name to go by, a file named train.json may be another source's.
    return data_root.absolute() if source.present(data_root, certain=True) else None


def missing_from(source: Source, data_root: Path | None) -> str | None:
    """What the folder of a source lacks that has its name and is not it; None where there is no such folder."""
    wanted = next((item for item in source.inputs if item.required), None)
    if data_root is None or wanted is None:
        return None
    others = [folder for name in source_names() if name != source.name for folder in get_source(name).folders]
    for folder in source.folders:
        shared = any(f"{other}/".startswith(f"{folder}/") for other in others)
        if not shared and (data_root / folder).is_dir():
            return f"{data_root / folder} has no {' or '.join(wanted.patterns)}"
    return None
