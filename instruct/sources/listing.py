"""Which files a source has, where its tables do not say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def files_in(root: Path, folders: Sequence[str]) -> set[str]:
    """Every file below some folders of a root, as paths below the root with forward slashes."""
    found: set[str] = set()
    for name in folders:
        for folder, _, files in os.walk(root / name):
            below = Path(folder).relative_to(root).as_posix()
            found.update(f"{below}/{file}" for file in files)
    return found
