"""What marked wordings are made of: pieces of text, turns, and the parts of messages.

Marks are single bytes, so NumPy finds them all at once; everything else is arithmetic on their positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from instruct.prompts.marks import DIGITS, END, IMAGE, VALUE

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Single bytes, all below the digits of a numbered mark.
_IMAGE, _VALUE, _END = ord(IMAGE), ord(VALUE), ord(END)
_IMAGE_TEXT = pa.array(["<image>"])


@dataclass(frozen=True)
class Runs:
    """Items of wordings, those of one wording after those of the one before.

    Attributes:
        first: place of each wording's first item.
        count: number of items of each wording.
    """

    first: Ints
    count: Ints

    @classmethod
    def of(cls, wording: Ints, wordings: int) -> Runs:
        """Runs of items, from the wording of each; ascending."""
        count = np.bincount(wording, minlength=wordings)
        return cls(np.cumsum(count) - count, count)

    def repeated(self, wordings: Ints) -> tuple[Ints, Ints]:
        """The items of some wordings, which may repeat: place of each item, and how many each wording has."""
        count = self.count[wordings]
        before = np.cumsum(count) - count
        return np.repeat(self.first[wordings] - before, count) + np.arange(count.sum()), count


class Layout:
    """The layout of some wordings.

    What a wording says is put together of pieces: what a mark stands for, then the text after it. Turns and parts begin
    with a piece of their wording, counted from 0.

    Args:
        text: wordings as :mod:`instruct.prompts.marks` describes, END after each.

    Attributes:
        wordings: number of wordings.
        pieces: the pieces of each wording.
        is_value: whether a piece is a text that is put in.
        turns: the turns of each wording.
        turn_piece: the piece that a turn begins with.
        turn_role: the mark of its role.
        turn_parts: how many parts it has.
        parts: the parts of each wording: images, and the texts between them and the ends of a turn, if any.
        part_piece: the piece that a part begins with.
        is_text: whether a part is a text.
        images: number of images that each wording places.
        in_order: whether it places them as 0, 1, 2, ...
    """

    def __init__(self, text: str) -> None:
        raw = text.encode()
        data = np.frombuffer(raw, np.uint8)
        at = np.flatnonzero(data <= _END)
        code = data[at]
        is_image, is_value, is_end = code == _IMAGE, code == _VALUE, code == _END
        stands_for = is_image | is_value
        begin, end = at + 1 + 2 * stands_for, np.append(at, len(data))[1:]
        has_text = (end > begin) & ~is_end
        # At twice a mark's place the text after it; between the texts are the marks.
        offsets = np.stack([begin, end], 1).ravel().astype(np.int32)
        self._texts = pa.StringArray.from_buffers(max(0, len(offsets) - 1), pa.py_buffer(offsets), pa.py_buffer(raw))

        zero, digits = ord(DIGITS[0]), at[stands_for]
        number = np.zeros(len(at), np.int64)
        number[stands_for] = (data[digits + 1].astype(np.int64) - zero) * len(DIGITS) + data[digits + 2] - zero
        self.wordings = int(is_end.sum())
        wording = np.cumsum(is_end) - is_end

        count = stands_for + has_text.astype(np.int64)
        start = np.cumsum(count) - count
        self.pieces = Runs.of(np.repeat(wording, count), self.wordings)
        start_in_wording = start - self.pieces.first[wording]
        self.is_value = np.zeros(int(count.sum()), bool)
        self.is_value[start[is_value]] = True
        self._piece = np.full(len(self.is_value), len(self._texts))  # an image
        self._piece[start[is_value]] = number[is_value]
        self._piece[(start + stands_for)[has_text]] = 2 * np.flatnonzero(has_text)

        is_turn = ~(stands_for | is_end)
        self.turns = Runs.of(wording[is_turn], self.wordings)
        self.turn_piece, self.turn_role = start_in_wording[is_turn], code[is_turn]

        # Turns and images each begin something: an image with the text up to the next image or turn, or that text only.
        begins = is_turn | is_image
        image, begun = is_image[begins].astype(np.int64), start[begins]
        some = np.append(begun, len(self._piece))[1:] > begun + image
        parts = image + some
        last = np.cumsum(parts) - 1
        self.is_text = np.zeros(int(parts.sum()), bool)
        self.is_text[last[some]] = True
        self.part_piece = np.repeat(start_in_wording[begins], parts)
        self.part_piece[last[some]] += image[some]
        self.parts = Runs.of(np.repeat(wording[begins], parts), self.wordings)
        turn = (np.cumsum(is_turn) - 1)[begins]
        self.turn_parts = np.bincount(np.repeat(turn, parts), minlength=len(self.turn_piece))

        shown = wording[is_image]
        self.images = np.bincount(shown, minlength=self.wordings)
        wrong = number[is_image] != np.arange(len(shown)) - (np.cumsum(self.images) - self.images)[shown]
        self.in_order = np.bincount(shown[wrong], minlength=self.wordings) == 0

    def pool(self, values: Sequence[pa.StringArray]) -> tuple[pa.StringArray, Ints]:
        """All texts that pieces can be, and the place of each piece in them; of one that is put in, the first value's.

        Args:
            values: the texts that are put in, by number.
        """
        pool = pa.concat_arrays([self._texts, _IMAGE_TEXT, *values])
        first = np.cumsum([len(self._texts) + 1, *map(len, values)])
        places = self._piece.copy()
        places[self.is_value] = first[places[self.is_value]]
        return pool, places
