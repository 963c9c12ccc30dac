"""Lengths of a mixture's rows, measured once per run folder and kept there."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from instruct.build.files import write_bytes
from instruct.digest import digest_bytes, digest_code, digest_json
from instruct.mixture.index import MixtureIndex, Part
from instruct.mixture.rows import PartRows, open_rows
from instruct.training.images import IMAGE_REASONS
from instruct.training.lengths import Fault, Measured, measure_part

FOLDER = "measures"
# What decides a length, so that a change of it measures anew.
_CODE = [f"instruct.training.{name}" for name in ("lengths", "supervision", "images", "processor")]


@dataclass(frozen=True)
class Measures:
    """Per part of an index, in order.

    Attributes:
        length: tokens per row of the part's shards, int32; -1 for a row with a fault and a row that is no candidate.
        supervised: supervised tokens per row, int32.
        images: images per row, int16.
        faults: rows that cannot be trained on.
        unclosed: rows whose answer does not end with a control token.
    """

    length: list[NDArray[np.int32]]
    supervised: list[NDArray[np.int32]]
    images: list[NDArray[np.int16]]
    faults: list[tuple[Fault, ...]]
    unclosed: list[int]

    @property
    def reasons(self) -> list[dict[int, str]]:
        """Per part, why a row is left out."""
        return [{fault.row: fault.reason for fault in faults} for faults in self.faults]


@dataclass(frozen=True)
class Chosen:
    """Some rows of a part, counted from 0."""

    rows: PartRows
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        """How many."""
        return len(self.numbers)

    def __getitem__(self, place: int) -> dict[str, Any]:
        """A row by its place among the chosen, without a copy of its images."""
        return self.rows.lean(int(self.numbers[place]))


def measure_index(
    index: MixtureIndex,
    processor: Any,
    run: Path,
    *,
    tokenized_by: Any,
    workers: int = 1,
    say: Callable[[str], None] | None = None,
) -> Measures:
    """Measure every row that an index may draw.

    Args:
        index: the mixture.
        processor: from :func:`instruct.training.processor.load_processor`.
        run: folder of the run; what was measured for the same rows and model is read from it.
        tokenized_by: plain data that tells the processor from others, such as the base model's fingerprint.
        workers: processes; no number of them changes the result.
        say: told of each part that is measured.

    Raises:
        DataError: the chat template is unusable; the folder cannot be written.
    """
    parts = [_measure(part, processor, run / FOLDER, tokenized_by, workers, say) for part in index.parts]
    return Measures(
        length=[_spread(part, found.length, -1) for part, found in zip(index.parts, parts, strict=True)],
        supervised=[_spread(part, found.supervised, 0) for part, found in zip(index.parts, parts, strict=True)],
        images=[_spread(part, found.images, 0) for part, found in zip(index.parts, parts, strict=True)],
        faults=[found.faults for found in parts],
        unclosed=[found.unclosed for found in parts],
    )


def _spread(part: Part, values: NDArray[Any], missing: int) -> NDArray[Any]:
    """Values of the candidates at the places of their rows."""
    everything = np.full(part.size, missing, values.dtype)
    everything[part.candidates] = values
    return everything


def _measure(
    part: Part, processor: Any, folder: Path, tokenized_by: Any, workers: int, say: Callable[[str], None] | None
) -> Measured:
    numbers = part.candidates if part.draws else part.candidates[:0]
    key = digest_json([part.digest, digest_bytes(numbers.tobytes()), tokenized_by, _version(), digest_code(_CODE)])
    file = folder / f"{key[:32]}.npz"
    kept = _read(file, len(numbers))
    if kept is None:
        again = np.arange(len(numbers))
    else:  # an image file lies outside the build: what was wrong with it may be mended by now
        again = np.searchsorted(numbers, [fault.row for fault in kept.faults if fault.reason in IMAGE_REASONS])
        if not len(again):
            return kept
    if say is not None and len(again):
        say(f"measuring {part.label}: {len(again):,} rows")
    found = measure_part(Chosen(open_rows(part), numbers[again]), processor, workers)
    faults = tuple(replace(fault, row=int(numbers[again[fault.row]])) for fault in found.faults)
    found = replace(found, faults=faults)
    if kept is not None:
        found = _renewed(kept, again, found)
        if found.faults == kept.faults:
            return kept  # nothing to write, by as many processes as there are
    _write(file, found)
    return found


def _renewed(kept: Measured, again: NDArray[np.int64], found: Measured) -> Measured:
    """What was kept, with some of its rows as they were found now."""
    length, supervised = kept.length.copy(), kept.supervised.copy()
    length[again], supervised[again] = found.length, found.supervised
    faults = [fault for fault in kept.faults if fault.reason not in IMAGE_REASONS] + list(found.faults)
    return Measured(
        length,
        supervised,
        kept.images,
        tuple(sorted(faults, key=lambda fault: fault.row)),
        kept.unclosed + found.unclosed,
    )


def _write(file: Path, found: Measured) -> None:
    content = io.BytesIO()
    side = json.dumps({"faults": [asdict(fault) for fault in found.faults], "unclosed": found.unclosed})
    np.savez(content, length=found.length, supervised=found.supervised, images=found.images, side=np.array(side))
    write_bytes(file, content.getvalue())


def _read(file: Path, rows: int) -> Measured | None:
    try:
        with np.load(file) as arrays:
            side = json.loads(str(arrays["side"]))
            found = Measured(
                arrays["length"],
                arrays["supervised"],
                arrays["images"],
                tuple(Fault(**fault) for fault in side["faults"]),
                side["unclosed"],
            )
    except (OSError, ValueError, KeyError, BadZipFile):
        return None
    return found if len(found.length) == rows else None


def _version() -> str:
    from importlib.metadata import version

    return version("transformers")


def only_rows(index: MixtureIndex, chosen: list[NDArray[np.int64]]) -> MixtureIndex:
    """An index of which only some rows are candidates, each drawn once."""
    parts = tuple(replace(part, rows=rows, draws=len(rows)) for part, rows in zip(index.parts, chosen, strict=True))
    return replace(index, parts=parts)
