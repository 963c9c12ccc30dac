"""The images of exported examples: where they are, whether a trainer can open them, and files of those in tables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from instruct.build.files import explaining
from instruct.build.packed import PackedImages
from instruct.errors import DataError
from instruct.images.dicom import is_dicom

_HEAD = 132  # bytes that tell a PNG's depth and a DICOM file
_PNG = b"\x89PNG\r\n\x1a\n"
_DEPTH = 24  # byte of a PNG that tells the bits of a sample
_SUFFIXES = {b"\xff\xd8\xff": (".jpg", ".jpeg"), _PNG[:3]: (".png",)}


class Left(StrEnum):
    """Why an example is not exported; the value is what is written."""

    MISSING_IMAGE = "missing_image"
    UNREADABLE_IMAGE = "unreadable_image"
    DICOM_IMAGE = "dicom_image"
    DEEP_IMAGE = "sixteen_bit_image"
    EMPTY_IMAGE = "empty_image"
    TURNS = "turns"


EXPLANATIONS = {
    Left.MISSING_IMAGE: "an image is not on disk",
    Left.UNREADABLE_IMAGE: "an image file may not be read",
    Left.DICOM_IMAGE: "an image is a DICOM file, which trainers do not open; build with images.store=pack",
    Left.DEEP_IMAGE: "an image is a 16-bit PNG, which trainers turn white; build with images.store=pack",
    Left.EMPTY_IMAGE: "an image file is empty",
    Left.TURNS: "its turns are not one of the user and one of the assistant in turn, which this trainer asks for",
}


@lru_cache(maxsize=1 << 16)
def fault_of(path: str) -> Left | None:
    """Why a trainer, which opens images with Pillow and makes them RGB, cannot show a file; None where it can.

    Pillow cuts 16-bit values off at 255 when it makes an image 8 bits deep, so that nearly all of it is white.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEAD)
    except (FileNotFoundError, NotADirectoryError):
        return Left.MISSING_IMAGE
    except OSError:
        return Left.UNREADABLE_IMAGE
    if not head:
        return Left.EMPTY_IMAGE
    if is_dicom(head):
        return Left.DICOM_IMAGE
    return Left.DEEP_IMAGE if head.startswith(_PNG) and head[_DEPTH] > 8 else None


class Pictures:
    """The images of a build, however it holds them.

    Args:
        folder: the dataset folder.
        manifest: its manifest.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.store: Literal["reference", "pack", "embed"] = manifest["recipe"]["images"].get("store", "reference")
        relative = manifest["recipe"]["images"]["paths"] == "relative"
        self._roots: Mapping[str, str] = manifest["image_roots"] if relative else {}
        self._packed = PackedImages(folder) if self.store == "pack" else None

    def published(self, image: Mapping[str, Any], key: str) -> str:
        """Path of the published file of an image that is referred to.

        Args:
            image: ``path``, as an example holds it.
            key: the image's key, ``source/path``.
        """
        source, _, path = key.partition("/")
        return f"{self._roots[source]}/{path}" if source in self._roots else str(image["path"])

    def content(self, image: Mapping[str, Any], key: str) -> bytes:
        """The file of an image that the build stored.

        Raises:
            DataError: the build has lost it.
        """
        if self._packed is None:
            return bytes(image["bytes"])
        try:
            return bytes(self._packed.data(key))
        except KeyError:
            raise DataError(f"the images tables do not hold {key}; `cxr-instruct verify` says what else") from None


class ImageFiles:
    """Paths of images for trainers that open files: the published ones, or files written for them.

    Args:
        pictures: the images.
        folder: folder that gets the files, below ``images/``; an image that is there already is not written again.
        absolute: whether paths of these files are absolute, or relative to the folder.
    """

    def __init__(self, pictures: Pictures, folder: Path, absolute: bool) -> None:
        self._pictures = pictures
        self._folder = folder
        self._prefix = f"{folder}/" if absolute else ""
        self.written = 0
        self.bytes = 0

    def path(self, image: Mapping[str, Any], key: str) -> str | Left:
        """Path of an image, or why no trainer can show it.

        Args:
            image: ``path`` and perhaps ``bytes``, as an example holds them.
            key: the image's key, ``source/path``.
        """
        if self._pictures.store == "reference":
            path = self._pictures.published(image, key)
            return fault_of(path) or path
        return f"{self._prefix}{self._file(image, key)}"

    def _file(self, image: Mapping[str, Any], key: str) -> str:
        if ".." in PurePosixPath(key).parts or key.startswith("/"):
            raise DataError(f"image {key!r}: its path leads out of its source's folder; the build is damaged")
        content = None
        name = self._name(key)
        if name is None:
            content = self._pictures.content(image, key)
            suffixes = _SUFFIXES[content[:3]]
            name = f"images/{key}" if key.lower().endswith(suffixes) else f"images/{key}{suffixes[0]}"
            file = self._folder / name
            with explaining(file):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            self.written += 1
            self.bytes += len(content)
        return name

    def _name(self, key: str) -> str | None:
        """Name of the file that an image has got already."""
        for suffix in ("", ".jpg", ".png"):
            name = f"images/{key}{suffix}"
            if os.path.isfile(self._folder / name):  # noqa: PTH113 - an order of magnitude faster than Path's
                return name
        return None
