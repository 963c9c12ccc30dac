"""What corpora of re-exported ChestX-ray14 images share: the corpus beside them, and its pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from instruct.synth import chestxray14
from instruct.synth.draw import draw_chest
from instruct.synth.keyed import Draws
from instruct.synth.state import ChestState

FOLDER = "chestxray14"
SIDE = 1024
_DRAWN = 128


class NihImages:
    """Images of the ChestX-ray14 corpus next to the folder of a corpus, which is written if it is not there.

    Args:
        root: folder of the corpus that shows its images.
        draws: source of the order, and of pictures of its own where that corpus has no more, or no files.
        studies: images of the corpus to write.
        seed: its seed.
        images: whether it gets its files.
    """

    def __init__(self, root: Path, draws: Draws, *, studies: int, seed: int, images: bool) -> None:
        self._folder = root.parent / FOLDER
        self._draws = draws
        tables = [self._folder / name for name in chestxray14.ENTRIES.values()]
        if not any(table.exists() for table in tables):
            chestxray14.write(self._folder, studies=studies, seed=seed, images=images)
        table = next(table for table in tables if table.exists())
        names = [line.split(",", 1)[0] for line in table.read_text("utf-8").splitlines()[1:]]
        self._names = [names[place] for place in draws.permutation("nih images", len(names))]

    def name(self, k: int) -> str | None:
        """File name of the k-th image; None where the corpus has no more."""
        return self._names[k] if k < len(self._names) else None

    def pixels(self, k: int) -> NDArray[np.uint8]:
        """Its 8-bit pixels, 1024 by 1024."""
        path = self._folder / chestxray14.IMAGES / (self.name(k) or "")
        if path.is_file():
            with Image.open(path) as image:
                return np.asarray(image.convert("L"))
        state = ChestState(opacity=k % 4, zone=k % 6)
        drawing = draw_chest(state, "frontal", self._draws.child("pictures"), k, height=_DRAWN, width=_DRAWN)
        scale = SIDE // _DRAWN
        return drawing.pixels8().repeat(scale, axis=0).repeat(scale, axis=1)
