"""Images on disk: whether the files that records refer to are there, lie inside their folder, and decode."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from instruct.reasons import Reason

# Larger than any radiograph; a file that claims more is damaged or hostile.
MAX_PIXELS = 400_000_000


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
        self._known: dict[str, Reason | None] = {}
        self._missing_folders: dict[PurePosixPath, bool] = {}

    def faults(self, paths: Iterable[str]) -> list[Reason | None]:
        """What is wrong with each image, None where nothing is.

        Args:
            paths: image paths relative to the root, with forward slashes.
        """
        paths = list(paths)
        fresh = list(dict.fromkeys(path for path in paths if path not in self._known))
        if self._decode and self._threads > 1:
            with ThreadPoolExecutor(self._threads) as pool:
                found = list(pool.map(self._fault, fresh))
        else:
            found = [self._fault(path) for path in fresh]
        self._known.update(zip(fresh, found, strict=True))
        return [self._known[path] for path in paths]

    def _fault(self, path: str) -> Reason | None:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts or "\\" in path or "\0" in path:
            return Reason.PATH_OUTSIDE_ROOT
        if self._folder_missing(parts.parent):
            return Reason.MISSING_IMAGE
        file = self.root / path
        if not file.is_file():
            return Reason.MISSING_IMAGE
        if self._decode and not _decodes(file):
            return Reason.UNDECODABLE_IMAGE
        return None

    def _folder_missing(self, folder: PurePosixPath) -> bool:
        """Whether a folder is missing; below a missing one nothing is looked up."""
        if folder not in self._missing_folders:
            above = folder != folder.parent and self._folder_missing(folder.parent)
            self._missing_folders[folder] = above or not (self.root / folder).is_dir()
        return self._missing_folders[folder]


def _decodes(file: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.width * image.height > MAX_PIXELS:
                return False
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    return True
