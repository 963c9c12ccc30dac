"""From the marked text of a rendered batch to nested Arrow columns, without a Python object per example.

Many examples can share one wording: what differs between them is then in the texts that are put in alone. So a wording
is looked at once (see :mod:`instruct.prompts.layout`), and repeated for its examples; Arrow joins the texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instruct.prompts.layout import Bools, Ints, Layout
from instruct.prompts.marks import ROLES

_ASSISTANT = ord(ROLES["assistant"])

PART_TYPE = pa.struct([("type", pa.string()), ("text", pa.string())])
MESSAGE_TYPE = pa.struct([("role", pa.string()), ("content", pa.list_(PART_TYPE))])
TURN_TYPE = pa.struct([("from", pa.string()), ("value", pa.string())])
MESSAGES_TYPE = pa.list_(MESSAGE_TYPE)
CONVERSATIONS_TYPE = pa.list_(TURN_TYPE)

_PART_NAMES = pa.array(["image", "text"])
# Code of a mark to the role's name in `messages` and in `conversations`.
_ROLE_NAMES = pa.array([None, *ROLES], pa.string())
_SENDER_NAMES = pa.array([None, "system", "human", "gpt"], pa.string())


@dataclass(frozen=True)
class Conversations:
    """A rendered batch as Arrow columns.

    Attributes:
        messages: ``list<struct<role, content: list<struct<type, text>>>>``; an image part's text is null.
        conversations: ``list<struct<from, value>>``, with ``<image>`` where an image stands.
        images_placed: number of images each example places.
        in_order: whether each example places its images as 0, 1, 2, ...
        empty_answer: whether an answer of the example has no text, or blanks only.
    """

    messages: pa.ListArray
    conversations: pa.ListArray
    images_placed: Ints
    in_order: Bools
    empty_answer: Bools


def parse_conversations(
    text: str, wordings: Ints | None = None, values: Sequence[pa.StringArray] = (), rows: Ints | None = None
) -> Conversations:
    """Cut a rendered batch at its marks.

    Args:
        text: wordings as :mod:`instruct.prompts.marks` describes, END after each.
        wordings: number of each example's wording, shape (examples,); default: each wording is an example.
        values: the texts that are put in where a wording has a mark for them; none is null.
        rows: place of each example's texts in ``values``, shape (examples,).
    """
    layout = Layout(text)
    if wordings is None:
        wordings = np.arange(layout.wordings)
    pool, places = layout.pool(values)
    piece, pieces = layout.pieces.repeated(wordings)
    chosen = places[piece]
    if rows is not None:
        chosen += layout.is_value[piece] * np.repeat(rows, pieces)
    said = _Said(pool, chosen)
    first = np.cumsum(pieces) - pieces

    turn, turns = layout.turns.repeated(wordings)
    role = layout.turn_role[turn]
    texts = said.texts(np.repeat(first, turns) + layout.turn_piece[turn])
    empty = np.asarray(pc.or_(pc.utf8_is_space(texts), pc.equal(pc.binary_length(texts), 0)))
    empty &= role == _ASSISTANT
    senders = pa.StructArray.from_arrays([_SENDER_NAMES.take(pa.array(role)), texts], fields=list(TURN_TYPE))

    part, parts = layout.parts.repeated(wordings)
    content = _content(said, np.repeat(first, parts) + layout.part_piece[part], layout, part, turn)
    messages = pa.StructArray.from_arrays([_ROLE_NAMES.take(pa.array(role)), content], fields=list(MESSAGE_TYPE))
    return Conversations(
        messages=pa.ListArray.from_arrays(_offsets(turns), messages),
        conversations=pa.ListArray.from_arrays(_offsets(turns), senders),
        images_placed=layout.images[wordings],
        in_order=layout.in_order[wordings],
        empty_answer=np.bincount(np.repeat(np.arange(len(turns)), turns)[empty], minlength=len(turns)) > 0,
    )


class _Said:
    """Pieces put together.

    Args:
        pool: texts.
        chosen: place of each piece among them.
    """

    def __init__(self, pool: pa.StringArray, chosen: Ints) -> None:
        self._ends: npt.NDArray[np.int32] = np.zeros(1, np.int32)
        self._data = pa.py_buffer(b"")
        if len(chosen):
            _, ends, data = pool.take(pa.array(chosen)).buffers()
            self._ends, self._data = np.frombuffer(ends, np.int32, len(chosen) + 1), data or self._data

    def begins(self, pieces: Ints) -> npt.NDArray[np.int32]:
        """Where some pieces begin, and the end of the last one of all; ascending."""
        begins: npt.NDArray[np.int32] = self._ends[np.append(pieces, len(self._ends) - 1)]
        return begins

    def texts(self, pieces: Ints) -> pa.StringArray:
        """What is said from each of some pieces to the next."""
        return self.between(self.begins(pieces))

    def between(self, begins: npt.NDArray[np.int32], valid: Bools | None = None) -> pa.StringArray:
        """The texts between some places, null where they are not valid."""
        bits = None if valid is None or valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
        return pa.StringArray.from_buffers(len(begins) - 1, pa.py_buffer(begins), self._data, bits)


def _content(said: _Said, pieces: Ints, layout: Layout, part: Ints, turn: Ints) -> pa.ListArray:
    """The parts of each turn; of an image, the text that stands for it is there, as a null."""
    begins, is_text, parts_of_turn = said.begins(pieces), layout.is_text[part], layout.turn_parts[turn]
    hollow = is_text & (begins[1:] == begins[:-1])
    if hollow.any():  # nothing but empty texts that are put in
        parts_of_turn = np.bincount(np.repeat(np.arange(len(turn)), parts_of_turn)[~hollow], minlength=len(turn))
        begins, is_text = begins[np.append(~hollow, True)], is_text[~hollow]
    kind = _PART_NAMES.take(pa.array(is_text.view(np.int8)))
    parts = pa.StructArray.from_arrays([kind, said.between(begins, is_text)], fields=list(PART_TYPE))
    return pa.ListArray.from_arrays(_offsets(parts_of_turn), parts)


def _offsets(lengths: Ints) -> pa.Int32Array:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.Int32Array.from_buffers(pa.int32(), len(offsets), [None, pa.py_buffer(offsets)])
