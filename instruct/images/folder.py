"""Images on disk: whether the files that records refer to are there, lie inside their folder, and decode."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from instruct.buffers import text_bytes
from instruct.images.fault import MAX_PIXELS
from instruct.reasons import Reason

_UNSEEN = object()


class ImageFolder:
    """The folder that holds a source's images.

    Args:
        root: the folder.
        decode: whether to decode every image, rather than look for the file only.
        threads: images decoded at the same time.

    Attributes:
        root: the folder.
        present: whether it is there.
    """

    def __init__(self, root: Path, decode: bool = False, threads: int = 1) -> None:
        self.root = root
        self._decode = decode
        self._threads = threads
        self.present = root.is_dir()
        self._known: dict[str, Reason | None] = {}

    def faults(self, paths: Iterable[str]) -> list[Reason | None]:
        """What is wrong with each image, None where nothing is.

        Args:
            paths: image paths relative to the root, with forward slashes.
        """
        paths = list(paths)
        if not self.present:  # nothing to look up, nothing worth remembering
            return list(map(self._fault, paths))
        found = list(map(self._known.get, paths, repeat(_UNSEEN)))
        if _UNSEEN not in found:
            return found  # type: ignore[return-value]
        fresh = list(dict.fromkeys(path for path, fault in zip(paths, found, strict=True) if fault is _UNSEEN))
        if self._decode and self._threads > 1:
            with ThreadPoolExecutor(self._threads) as pool:
                looked = list(pool.map(self._fault, fresh))
        else:
            looked = list(map(self._fault, fresh))
        self._known.update(zip(fresh, looked, strict=True))
        return list(map(self._known.__getitem__, paths))

    def _fault(self, path: str) -> Reason | None:
        if path.startswith("/") or "\\" in path or "\0" in path or (".." in path and ".." in path.split("/")):
            return Reason.PATH_OUTSIDE_ROOT
        file = f"{self.root}/{path}"
        if not self.present or not os.path.isfile(file):  # noqa: PTH113 - a Path per image would cost as much as all the rest
            return Reason.MISSING_IMAGE
        if self._decode and not _decodes(file):
            return Reason.UNDECODABLE_IMAGE
        return None


def may_lead_outside(paths: pa.StringArray) -> bool:
    """Whether any of many image paths may not lie below its root: a quick look at all of them at once."""
    said = text_bytes(paths)
    dots = said == ord(".")
    return bool(
        (said == ord("\\")).any()
        or (said == 0).any()
        or (dots[1:] & dots[:-1]).any()
        or pc.any(pc.starts_with(paths, "/")).as_py()
    )


def _decodes(file: str) -> bool:
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.width * image.height > MAX_PIXELS:
                return False
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    return True
