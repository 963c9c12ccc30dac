"""Images on disk: whether the files that records refer to are there, lie inside their folder, and decode."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import repeat
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from instruct.buffers import text_blocks
from instruct.images.fault import MAX_PIXELS, ImageFault
from instruct.reasons import Reason

_UNSEEN = object()


class ImageFolder:
    """The folder that holds a source's images.

    Args:
        root: the folder.
        decode: whether to decode every image, rather than look for the file only.
        threads: images decoded at the same time.
    """

    def __init__(self, root: Path, decode: bool = False, threads: int = 1) -> None:
        self.root = root
        self._decode = decode
        self._threads = threads
        self._present = root.is_dir()
        self._known: dict[str, Reason | None] = {}

    def faults(self, paths: Iterable[str]) -> list[Reason | None]:
        """What is wrong with each image, None where nothing is.

        Args:
            paths: image paths relative to the root, with forward slashes.
        """
        paths = list(paths)
        if not self._present:  # nothing to look up, nothing worth remembering
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

    def forget(self) -> None:
        """Forget what was found: it is looked for again when it is asked for again."""
        self._known = {}

    def all_missing(self, paths: pa.StringArray) -> bool:
        """Whether the folder is not there and no path can lead outside of it: a quick look at many paths at once."""
        if self._present:
            return False
        for said in text_blocks(paths):
            dots = said == ord(".")
            if (dots[1:] & dots[:-1]).any() or ((said == ord("\\")) | (said == 0)).any():
                return False
        return not pc.any(pc.starts_with(paths, "/")).as_py()

    def _fault(self, path: str) -> Reason | None:
        if path.startswith("/") or "\\" in path or "\0" in path or (".." in path and ".." in path.split("/")):
            return Reason.PATH_OUTSIDE_ROOT
        file = f"{self.root}/{path}"
        if not self._present or not os.path.isfile(file):  # noqa: PTH113 - a Path per image would cost as much as all the rest
            return Reason.MISSING_IMAGE
        if self._decode and not _decodes(file):
            return Reason.UNDECODABLE_IMAGE
        return None


def _decodes(file: str) -> bool:
    from PIL import Image

    from instruct.images.dicom import is_dicom, read_dicom

    try:
        data = Path(file).read_bytes()
        if is_dicom(data):
            read_dicom(data)
            return True
        with Image.open(BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                return False
            image.load()
    except (OSError, ValueError, SyntaxError, ImageFault, Image.DecompressionBombError):
        return False
    return True
