"""Writing corpus files the same way every time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from instruct.errors import UsageError

SMALLEST = 20
"""Fewest studies of a synthetic corpus: below this a corpus cannot hold one of everything."""


def start(root: Path, studies: int, owned: Sequence[str]) -> None:
    """Check a request and create the corpus folder.

    Args:
        root: corpus folder, created if missing.
        studies: studies asked for.
        owned: names under ``root`` that the source writes.

    Raises:
        UsageError: too few studies, or one of the names exists already (a mix of two corpora has wrong counts).
    """
    if studies < SMALLEST:
        raise UsageError(f"synthetic corpus of {studies} studies: expected {SMALLEST} or more; ask for more studies")
    present = [name for name in owned if (root / name).exists()]
    if present:
        raise UsageError(
            f"{root / present[0]}: exists already, expected a folder without {', '.join(owned)}; "
            "choose another folder or delete it"
        )
    root.mkdir(parents=True, exist_ok=True)


def write_png(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write a PNG; its folder must exist.

    Args:
        path: file to write.
        pixels: (height, width) uint8 or uint16 for grey of 8 or 16 bits, (height, width, 3) uint8 for colour.
    """
    Image.fromarray(pixels).save(path, format="PNG", compress_level=1)
