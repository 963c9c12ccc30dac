"""Pictures for a screen: an example's image, decoded and windowed as a build does it, scaled down, as a small JPEG."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from instruct.build.packed import PackedImages
from instruct.errors import UsageError
from instruct.images.backend import backend
from instruct.images.decode import decode
from instruct.images.fault import ImageFault, undecodable
from instruct.images.store import read_image_file
from instruct.images.window import Window, to_grey

NOT_INSTALLED = "not_installed"
_QUALITY = 85
_WINDOWS = {
    "percentile": "window {low:,.0f} to {high:,.0f} (0.5 to 99.5 %)",
    "min_max": "window {low:,.0f} to {high:,.0f} (all values)",
    "voi_lut": "table of the DICOM file",
}
_OF_THE_FILE = "window {low:,.0f} to {high:,.0f} (of the DICOM file)"


@dataclass(frozen=True)
class Picture:
    """A picture to show.

    Attributes:
        jpeg: the file.
        width: columns of the image it was made of, the right way up.
        height: rows of that image.
        note: what was done to its values; empty where nothing was.
    """

    jpeg: bytes
    width: int
    height: int
    note: str

    def entry(self) -> dict[str, Any]:
        """The picture as the page takes it, with all of its bytes."""
        uri = "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode("ascii")
        return {"uri": uri, "width": self.width, "height": self.height, "note": self.note}


@dataclass(frozen=True)
class NotShown:
    """Why an image has no picture.

    Attributes:
        reason: as a build counts it.
        detail: for a person.
    """

    reason: str
    detail: str

    def entry(self) -> dict[str, Any]:
        """The fault as the page takes it."""
        return {"fault": self.detail}


class Pictures:
    """Makes the pictures of a dataset folder, whichever way it holds its images.

    Args:
        folder: the dataset folder.
        manifest: its manifest.
        pixels: longer side of a picture; smaller images keep their size.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any], pixels: int) -> None:
        self._roots: Mapping[str, str] = manifest["image_roots"]
        self._packed = PackedImages(folder) if manifest.get("images", {}).get("store") == "pack" else None
        self._pixels = pixels

    def read(self, image: Mapping[str, Any], key: str) -> Picture | NotShown:
        """The picture of an image.

        Args:
            image: ``bytes`` and ``path``, as an example holds them.
            key: the image's key, ``namespace/path``.
        """
        try:
            decoded = decode(self._content(image, key), "long", self._pixels, backend("pillow"))
            grey, window = to_grey(decoded.values, decoded.display)
        except ImageFault as fault:
            return NotShown(str(fault.reason), fault.detail)
        except UsageError as error:  # a DICOM file, and nothing here that reads it
            return NotShown(NOT_INSTALLED, str(error))
        out = io.BytesIO()
        Image.fromarray(grey).save(out, "JPEG", quality=_QUALITY)
        return Picture(out.getvalue(), *decoded.geometry.source, _note(window))

    def _content(self, image: Mapping[str, Any], key: str) -> bytes:
        if image["bytes"]:
            return bytes(image["bytes"])
        if self._packed is not None:
            try:
                return bytes(self._packed.data(key))
            except KeyError:
                raise undecodable("the images tables do not hold it; `cxr-instruct verify` says more") from None
        if not image["path"]:
            raise undecodable("the example holds neither the image nor its path")
        file = Path(self._roots.get(key.partition("/")[0], ""), image["path"])
        return read_image_file(file.parent, file.name, links=True)


def _note(window: Window) -> str:
    if window.method == "none":
        told = ""
    else:
        told = _WINDOWS.get(window.method, _OF_THE_FILE).format(low=window.low, high=window.high)
    return ", ".join(filter(None, [told, "inverted (MONOCHROME1)" if window.inverted else ""]))
