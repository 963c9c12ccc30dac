"""DICOM images: stored values, and what the file says of how they are shown (PS3.3 C.7.6.3, C.11.1, C.11.2).

Uncompressed pixels are taken as they lie; JPEG, JPEG lossless, JPEG-LS and JPEG 2000 are decoded by imagecodecs, RLE by
pydicom. Both come with the ``[dicom]`` extra, and neither is under the GPL.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruct.errors import UsageError
from instruct.images.fault import ImageFault, check_size, undecodable
from instruct.images.frame import frame_size
from instruct.images.window import Display, Voi
from instruct.reasons import Reason

_UNCOMPRESSED = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"}
_DEFLATED = "1.2.840.10008.1.2.1.99"  # pydicom inflates all of it at once, whatever it grows to
_RLE = "1.2.840.10008.1.2.5"
_DECODERS = {
    "1.2.840.10008.1.2.4.50": "jpeg_decode",  # baseline, 8 bits
    "1.2.840.10008.1.2.4.51": "jpeg_decode",  # extended, 12 bits
    "1.2.840.10008.1.2.4.57": "ljpeg_decode",  # lossless
    "1.2.840.10008.1.2.4.70": "ljpeg_decode",  # lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": "jpegls_decode",
    "1.2.840.10008.1.2.4.81": "jpegls_decode",
    "1.2.840.10008.1.2.4.90": "jpeg2k_decode",
    "1.2.840.10008.1.2.4.91": "jpeg2k_decode",
}
# Run lengths never take more than this of the bytes they stand for (one more for each 128).
_LARGEST_RLE = 1.01
_GREY = {"MONOCHROME1", "MONOCHROME2"}
_COLOUR = {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"}


def dicom_versions() -> dict[str, str]:
    """Libraries that read DICOM files, of those installed, to their versions."""
    found = {}
    for name in ("imagecodecs", "pydicom"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def is_dicom(data: bytes) -> bool:
    """Whether a file is a DICOM file (PS3.10: ``DICM`` after a preamble of 128 bytes)."""
    return data[128:132] == b"DICM"


def read_dicom(data: bytes) -> tuple[NDArray[Any], Display]:
    """The values of a DICOM image of one frame.

    Returns:
        Stored values, shape (rows, columns), unsigned of 8 or 16 bits; and how they are shown.

    Raises:
        ImageFault: damaged, of several frames, or of a kind that is not read.
        UsageError: the ``[dicom]`` extra is not installed.
    """
    try:
        import imagecodecs
        import pydicom
    except ImportError as error:
        raise UsageError(f"DICOM images need {error.name}; install it with pip install 'cxr-instruct[dicom]'") from None
    if _DEFLATED.encode() in data[: 1 << 16]:  # its head is never compressed
        raise undecodable(f"DICOM transfer syntax {_DEFLATED} (deflated) is not read")
    try:
        dataset = pydicom.dcmread(io.BytesIO(data))
        _check(dataset)
        values = _stored(dataset, imagecodecs)
        return _display(dataset, values)
    except (ImageFault, MemoryError):
        raise
    except Exception as error:  # pydicom and the codecs raise whatever they come upon in a damaged file
        raise undecodable(f"DICOM: {error or type(error).__name__}") from None


def _check(dataset: Any) -> None:
    if "PixelData" not in dataset:
        raise undecodable("the DICOM file holds no pixels")
    check_size(int(dataset.Columns), int(dataset.Rows))
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise ImageFault(Reason.SEVERAL_FRAMES, f"{frames} frames")
    kind = dataset.PhotometricInterpretation
    if kind not in _GREY | _COLOUR:
        raise undecodable(f"DICOM photometric interpretation {kind} is not read")
    if int(dataset.BitsAllocated) not in (8, 16):
        raise undecodable(f"DICOM of {dataset.BitsAllocated} bits for a value is not read; 8 and 16 are")


def _stored(dataset: Any, imagecodecs: Any) -> NDArray[Any]:
    """Stored values, shape (rows, columns); of colour, luma."""
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    rows, columns, samples = int(dataset.Rows), int(dataset.Columns), int(dataset.get("SamplesPerPixel", 1))
    bits, stored = int(dataset.BitsAllocated), int(dataset.get("BitsStored", dataset.BitsAllocated))
    signed = bool(dataset.get("PixelRepresentation", 0))
    values: NDArray[Any]
    if syntax in _UNCOMPRESSED and samples == 1:
        kind = np.dtype(f"<{'i' if signed else 'u'}{bits // 8}")
        needed = rows * columns * kind.itemsize
        if len(dataset.PixelData) < needed:
            raise undecodable(f"the DICOM file holds {len(dataset.PixelData):,} bytes of pixels; expected {needed:,}")
        values = np.frombuffer(dataset.PixelData, kind, rows * columns).reshape(rows, columns)
    elif syntax in _UNCOMPRESSED or syntax == _RLE:
        if len(dataset.PixelData) > _LARGEST_RLE * rows * columns * samples * bits // 8 + 1024:
            raise undecodable(f"the DICOM file holds {len(dataset.PixelData):,} bytes for {columns} x {rows} pixels")
        values = dataset.pixel_array
    elif syntax in _DECODERS:
        from pydicom.encaps import get_frame

        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        claimed = frame_size(frame)
        if claimed != (columns, rows):
            raise undecodable(f"the DICOM header says {columns} x {rows} pixels; the frame in it {claimed}")
        settings = {"bitspersample": stored} if syntax.endswith(".51") else {}
        values = getattr(imagecodecs, _DECODERS[syntax])(frame, **settings)
    else:
        raise undecodable(f"DICOM transfer syntax {syntax} is not read")
    if values.shape[:2] != (rows, columns):
        raise undecodable(f"the DICOM header says {columns} x {rows} pixels; decoded were {values.shape[1::-1]}")
    if values.ndim == 3:
        return _luma(values, dataset.PhotometricInterpretation, decoded=syntax in _DECODERS)
    return _in_bits(values, bits, stored, signed)


def _in_bits(values: NDArray[Any], bits: int, stored: int, signed: bool) -> NDArray[Any]:
    """Values of the bits that count; above them there may be overlays."""
    if signed:
        narrow: NDArray[Any] = values.astype(np.int16)
        values = np.right_shift(np.left_shift(narrow, 16 - stored), 16 - stored)
    elif stored < bits:
        values = np.bitwise_and(values, values.dtype.type((1 << stored) - 1))
    return values


def _luma(values: NDArray[Any], kind: str, decoded: bool) -> NDArray[Any]:
    if values.dtype != np.uint8:
        raise undecodable("DICOM colour of more than 8 bits is not read")
    if kind != "RGB" and not decoded:  # decoders have turned it into RGB
        return values[:, :, 0]
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(values)).convert("L"))


def _display(dataset: Any, values: NDArray[Any]) -> tuple[NDArray[Any], Display]:
    padded = _padding(dataset, values)
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    slope, intercept = float(dataset.get("RescaleSlope") or 1), float(dataset.get("RescaleIntercept") or 0)
    if "ModalityLUTSequence" in dataset:
        from pydicom.pixels.processing import apply_modality_lut

        values, slope, intercept = np.asarray(apply_modality_lut(values, dataset)), 1.0, 0.0
    if padded is not None:  # as dark as the darkest of the others
        others = values[~padded]
        values = np.where(padded, others.max() if inverted != (slope < 0) else others.min(), values)
    if np.issubdtype(values.dtype, np.signedinteger):
        # Unsigned, as backends want it; the shift is taken back by the intercept.
        values = (values.astype(np.int32) + 32768).astype(np.uint16)
        intercept -= 32768 * slope
    voi, (lut, first) = _voi(dataset), _lut(dataset)
    own = voi is not None or lut is not None
    rescaled = (slope, intercept) != (1.0, 0.0)
    display = Display(
        as_is=values.dtype == np.uint8 and not own and not rescaled,
        slope=slope,
        intercept=intercept,
        inverted=inverted,
        padding=0.0 if padded is None else float(padded.mean()),
    )
    if lut is not None:  # where a file has both, the table is the more exact one
        return values, replace(display, lut=lut, lut_first=first)
    return values, replace(display, voi=voi)


def _padding(dataset: Any, values: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Which of the stored values are padding (PS3.3 C.7.5.1.1.2); None where none are, or all."""
    padding = dataset.get("PixelPaddingValue")
    if padding is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit", padding)
    low, high = sorted((int(padding), int(limit)))
    padded: NDArray[np.bool_] = (values >= low) & (values <= high)
    return padded if padded.any() and not padded.all() else None


def _voi(dataset: Any) -> Voi | None:
    centre, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    if centre is None or width is None:
        return None
    function = str(dataset.get("VOILUTFunction") or "LINEAR").lower()
    if function not in ("linear", "linear_exact", "sigmoid"):
        raise undecodable(f"DICOM VOI LUT function {function.upper()} is not read")
    if width < 1 if function == "linear" else width <= 0:
        return None
    return Voi(function, centre, width)


def _lut(dataset: Any) -> tuple[NDArray[np.float64] | None, float]:
    tables = dataset.get("VOILUTSequence")
    if not tables:
        return None, 0.0
    table = tables[0]
    entries, first, bits = (int(value) for value in table.LUTDescriptor)
    data = table.LUTData
    if isinstance(data, bytes):
        data = np.frombuffer(data, "<u2" if bits > 8 or len(data) >= 2 * (entries or 65536) else "u1")
    values = np.asarray(data, np.float64)[: entries or 65536]
    # White is what the bits can hold, not what the table comes to, unless it comes to more than it says.
    return values / max(2.0**bits - 1, values.max(), 1), float(first)


def _first(value: Any) -> float | None:
    """The first of what may be several numbers, none, or empty."""
    if value is None or value == "":
        return None
    try:
        return float(value)
    except TypeError:
        return float(value[0]) if len(value) else None
