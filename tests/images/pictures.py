"""Image files of every kind that datasets hold, and of kinds that they should not."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def chest(height: int = 120, width: int = 96, top: int = 255, seed: int = 0) -> np.ndarray:
    """Smooth shapes of some hundred grey levels, 0 to ``top``."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.random((7, 6)).astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    values = np.asarray(small)
    values = (values - values.min()) / (values.max() - values.min()) * top
    return values.astype(np.uint8 if top < 256 else np.uint16)


def saved(pixels: np.ndarray | Image.Image, form: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, form, **settings)
    return file.getvalue()


def opened(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    assert image.mode == "L"
    return np.asarray(image)


def claims(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes that claims any size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def rotated(pixels: np.ndarray, orientation: int, form: str = "JPEG") -> bytes:
    """A file whose pixels lie as a camera held that way would write them."""
    back = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.T,
        6: np.rot90(pixels),
        7: pixels[::-1, ::-1].T,
        8: np.rot90(pixels, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(np.ascontiguousarray(back), form, exif=exif, **({"quality": 98} if form == "JPEG" else {}))


def dicom(values: np.ndarray, syntax: str = "1.2.840.10008.1.2.1", frame: bytes | None = None, **fields: Any) -> bytes:
    """A DICOM file of one frame of grey values; ``frame`` is that of a compressed transfer syntax."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    bits = 8 * values.dtype.itemsize
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 1 if values.ndim == 2 else 3
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "MONOCHROME2" if values.ndim == 2 else "RGB"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.PixelData = values.tobytes() if frame is None else encapsulate([frame])
    dataset["PixelData"].VR = "OW" if bits == 16 and frame is None else "OB"
    if frame is not None:
        dataset["PixelData"].is_undefined_length = True
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()
