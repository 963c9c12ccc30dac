"""From the marked text of a rendered batch to nested Arrow columns, without a Python object per example.

Marks are single bytes, so NumPy finds them all at once; the texts between them, and those put in where there is a mark
for one, are joined by Arrow; and everything else is arithmetic on their positions. Many examples can share one wording:
what differs between them is then in the texts that are put in alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instruct.prompts.marks import DIGITS, END, IMAGE, ROLES, VALUE

_Ints = npt.NDArray[np.int64]

# Single bytes, all below the digits of a numbered mark.
_IMAGE, _VALUE, _END, _ASSISTANT = ord(IMAGE), ord(VALUE), ord(END), ord(ROLES["assistant"])

PART_TYPE = pa.struct([("type", pa.string()), ("text", pa.string())])
MESSAGE_TYPE = pa.struct([("role", pa.string()), ("content", pa.list_(PART_TYPE))])
TURN_TYPE = pa.struct([("from", pa.string()), ("value", pa.string())])
MESSAGES_TYPE = pa.list_(MESSAGE_TYPE)
CONVERSATIONS_TYPE = pa.list_(TURN_TYPE)

_IMAGE_TEXT = pa.array(["<image>"])

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
    images_placed: _Ints
    in_order: npt.NDArray[np.bool_]
    empty_answer: npt.NDArray[np.bool_]


def parse_conversations(
    text: str, wordings: _Ints | None = None, values: Sequence[pa.StringArray] = (), rows: _Ints | None = None
) -> Conversations:
    """Cut a rendered batch at its marks.

    Args:
        text: wordings as :mod:`instruct.prompts.marks` describes, END after each.
        wordings: number of each example's wording, shape (examples,); default: each wording is an example.
        values: the texts that are put in where a wording has a mark for them; none is null.
        rows: place of each example's texts in ``values``, shape (examples,).
    """
    marks = _Marks(text)
    example, mark = marks.of_examples(wordings)
    code, number, has_text = marks.code[mark], marks.number[mark], marks.has_text[mark]
    is_image, is_value, is_end = code == _IMAGE, code == _VALUE, code == _END
    is_turn = ~(is_image | is_value | is_end)
    examples = int(is_end.sum())
    turn = np.cumsum(is_turn) - 1
    turns_of_example = np.bincount(example[is_turn], minlength=examples)

    image_example = example[is_image]
    placed = np.bincount(image_example, minlength=examples)
    wrong = number[is_image] != np.arange(len(image_example)) - (np.cumsum(placed) - placed)[image_example]

    # All that is said is put together of pieces: what a mark stands for, then the text after it.
    pool = pa.concat_arrays([marks.texts, _IMAGE_TEXT, *values])
    first_value = np.cumsum([len(marks.texts) + 1, *map(len, values)])
    stands_for = is_image | is_value
    count = stands_for.astype(np.int64) + has_text
    start = np.cumsum(count) - count
    pieces = np.empty(int(count.sum()), np.int64)
    pieces[start[is_image]] = len(marks.texts)
    if rows is not None:
        pieces[start[is_value]] = first_value[number[is_value]] + rows[example[is_value]]
    pieces[(start + stands_for)[has_text]] = 2 * mark[has_text]

    said, data = _joined(pool, pieces)
    texts = _strings(data, np.diff(said[np.append(start[is_turn], len(pieces))]))
    empty = np.asarray(pc.or_(pc.utf8_is_space(texts), pc.equal(pc.binary_length(texts), 0)))
    empty &= code[is_turn] == _ASSISTANT
    turns = pa.StructArray.from_arrays([_SENDER_NAMES.take(pa.array(code[is_turn])), texts], fields=list(TURN_TYPE))

    if len(image_example):  # they are no text in `messages`
        start -= np.cumsum(is_image) - is_image
        said, data = _joined(pool, pieces[pieces != len(marks.texts)])
    begins = ~is_value  # a part, an image with the text after it, or nothing
    lengths = np.diff(said[np.append(start[begins], len(said) - 1)])
    return Conversations(
        messages=_messages(
            data, code[begins], lengths, is_image[begins], is_turn[begins], turn[begins], turns_of_example
        ),
        conversations=pa.ListArray.from_arrays(_offsets(turns_of_example), turns),
        images_placed=placed,
        in_order=np.bincount(image_example[wrong], minlength=examples) == 0,
        empty_answer=np.bincount(example[is_turn][empty], minlength=examples) > 0,
    )


class _Marks:
    """The marks of a text.

    Attributes:
        code: what each is.
        number: which image or value it stands for; 0 for other marks.
        texts: at twice a mark's position the text between it and the next.
        has_text: whether that text is anything.
    """

    def __init__(self, text: str) -> None:
        raw = text.encode()
        data = np.frombuffer(raw, np.uint8)
        at = np.flatnonzero(data <= _END)
        self.code = data[at]
        self._is_end = self.code == _END
        numbered = (self.code == _IMAGE) | (self.code == _VALUE)
        self.number = np.zeros(len(at), np.int64)
        digits = at[numbered]
        zero, base = ord(DIGITS[0]), len(DIGITS)
        self.number[numbered] = (data[digits + 1].astype(np.int64) - zero) * base + data[digits + 2] - zero
        begin, end = at + 1 + 2 * numbered, np.append(at, len(data))[1:]
        self.has_text = (end > begin) & ~self._is_end
        # Between the texts are the marks.
        offsets = np.stack([begin, end], 1).ravel().astype(np.int32)
        self.texts = pa.StringArray.from_buffers(max(0, len(offsets) - 1), pa.py_buffer(offsets), pa.py_buffer(raw))

    def of_examples(self, wordings: _Ints | None) -> tuple[_Ints, _Ints]:
        """The example that each mark is of, and which mark it is, example after example."""
        ends = np.flatnonzero(self._is_end)
        count = np.diff(np.append(-1, ends))
        if wordings is None:
            return np.repeat(np.arange(len(ends)), count), np.arange(len(self.code))
        first = ends + 1 - count
        count = count[wordings]
        before = np.cumsum(count) - count
        mark = np.repeat(first[wordings] - before, count) + np.arange(count.sum())
        return np.repeat(np.arange(len(wordings)), count), mark


def _joined(texts: pa.StringArray, pieces: _Ints) -> tuple[npt.NDArray[np.int32], pa.Buffer]:
    """Some texts put together: where each begins, and the end of the last; and all their bytes."""
    if not len(pieces):
        return np.zeros(1, np.int32), pa.py_buffer(b"")
    _, offsets, data = texts.take(pa.array(pieces)).buffers()
    return np.frombuffer(offsets, np.int32, len(pieces) + 1), data or pa.py_buffer(b"")


def _messages(
    text: pa.Buffer,
    code: npt.NDArray[np.uint8],
    lengths: _Ints,
    is_image: npt.NDArray[np.bool_],
    is_turn: npt.NDArray[np.bool_],
    turn: _Ints,
    turns_of_example: _Ints,
) -> pa.ListArray:
    # Each mark gives an image part, a text part, both or none; an image stands before the text that follows it.
    has_text = lengths > 0
    parts = has_text.astype(np.int64) + is_image
    part_start = np.cumsum(parts) - parts
    total = int(parts.sum())
    text_part = np.zeros(total, bool)
    text_part[(part_start + is_image)[has_text]] = True
    part_lengths = np.zeros(total, np.int64)
    part_lengths[text_part] = lengths[has_text]
    texts = _strings(text, part_lengths, valid=text_part)
    kind = pa.array(["image", "text"], pa.string()).take(pa.array(text_part.astype(np.int8)))

    turns = int(is_turn.sum())
    parts_of_turn = np.bincount(turn, weights=parts, minlength=turns).astype(np.int64)
    content = pa.ListArray.from_arrays(
        _offsets(parts_of_turn), pa.StructArray.from_arrays([kind, texts], fields=list(PART_TYPE))
    )
    role = _ROLE_NAMES.take(pa.array(code[is_turn]))
    messages = pa.StructArray.from_arrays([role, content], fields=list(MESSAGE_TYPE))
    return pa.ListArray.from_arrays(_offsets(turns_of_example), messages)


def _strings(data: pa.Buffer, lengths: _Ints, valid: npt.NDArray[np.bool_] | None = None) -> pa.StringArray:
    bits = None if valid is None or valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    nulls = 0 if bits is None or valid is None else int((~valid).sum())
    return pa.StringArray.from_buffers(len(lengths), _offset_buffer(lengths), data, bits, nulls)


def _offset_buffer(lengths: _Ints) -> pa.Buffer:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.py_buffer(offsets)


def _offsets(lengths: _Ints) -> pa.Int32Array:
    return pa.Int32Array.from_buffers(pa.int32(), len(lengths) + 1, [None, _offset_buffer(lengths)])
