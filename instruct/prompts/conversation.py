"""From the marked text of a rendered batch to nested Arrow columns, without a Python object per example.

The text's bytes are the data of the Arrow columns already; only the offsets must be found. Marks are single bytes, so
NumPy finds them all at once, and everything else is arithmetic on their positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instruct.prompts.marks import CONTROL_BYTES, DIGITS, END, IMAGE, ROLES

_Ints = npt.NDArray[np.int64]

# Single bytes, all below the digits of an image mark.
_IMAGE, _END, _ASSISTANT = ord(IMAGE), ord(END), ord(ROLES["assistant"])

PART_TYPE = pa.struct([("type", pa.string()), ("text", pa.string())])
MESSAGE_TYPE = pa.struct([("role", pa.string()), ("content", pa.list_(PART_TYPE))])
TURN_TYPE = pa.struct([("from", pa.string()), ("value", pa.string())])
MESSAGES_TYPE = pa.list_(MESSAGE_TYPE)
CONVERSATIONS_TYPE = pa.list_(TURN_TYPE)

_IMAGE_TEXT = b"<image>"
_IMAGE_BYTE = IMAGE.encode()
# All bytes of marks, also of an image's digits, but the one that says where the image stands.
_BESIDE_IMAGES = CONTROL_BYTES.replace(_IMAGE_BYTE, b"")

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


def parse_conversations(text: str) -> Conversations:
    """Cut a rendered batch at its marks.

    Args:
        text: examples as :mod:`instruct.prompts.marks` describes, END after each.
    """
    raw = text.encode()
    data = np.frombuffer(raw, np.uint8)
    at = np.flatnonzero(data <= _END)
    code = data[at]
    is_image, is_end = code == _IMAGE, code == _END
    is_turn = ~is_image & ~is_end
    start = at + 1 + 2 * is_image  # of the text that follows the mark, past an image's digits
    lengths = np.where(is_end, 0, np.append(at[1:], len(data)) - start)

    example = np.cumsum(is_end) - is_end  # example that a mark belongs to
    examples = int(is_end.sum())
    turn = np.cumsum(is_turn) - 1
    turns_of_example = np.bincount(example[is_turn], minlength=examples)

    image_at, image_example = at[is_image], example[is_image]
    placed = np.bincount(image_example, minlength=examples)
    first = np.cumsum(placed) - placed
    expected = np.arange(len(image_example)) - first[image_example]
    zero, base = ord(DIGITS[0]), len(DIGITS)
    index = (data[image_at + 1].astype(np.int64) - zero) * base + data[image_at + 2] - zero
    wrong = index != expected

    said = raw.translate(None, _BESIDE_IMAGES)
    length_of_turn = np.bincount(turn, weights=lengths + len(_IMAGE_TEXT) * is_image, minlength=int(is_turn.sum()))
    values = _strings(said.replace(_IMAGE_BYTE, _IMAGE_TEXT), length_of_turn.astype(np.int64))
    empty = np.asarray(pc.or_(pc.utf8_is_space(values), pc.equal(pc.binary_length(values), 0)))
    empty &= code[is_turn] == _ASSISTANT
    turns = pa.StructArray.from_arrays([_SENDER_NAMES.take(pa.array(code[is_turn])), values], fields=list(TURN_TYPE))
    return Conversations(
        messages=_messages(said.replace(_IMAGE_BYTE, b""), code, lengths, is_image, is_turn, turn, turns_of_example),
        conversations=pa.ListArray.from_arrays(_offsets(turns_of_example), turns),
        images_placed=placed,
        in_order=np.bincount(image_example[wrong], minlength=examples) == 0,
        empty_answer=np.bincount(example[is_turn][empty], minlength=examples) > 0,
    )


def _messages(
    text: bytes,
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


def _strings(data: bytes, lengths: _Ints, valid: npt.NDArray[np.bool_] | None = None) -> pa.StringArray:
    bits = None if valid is None or valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    nulls = 0 if bits is None or valid is None else int((~valid).sum())
    return pa.StringArray.from_buffers(len(lengths), _offset_buffer(lengths), pa.py_buffer(data), bits, nulls)


def _offset_buffer(lengths: _Ints) -> pa.Buffer:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.py_buffer(offsets)


def _offsets(lengths: _Ints) -> pa.Int32Array:
    return pa.Int32Array.from_buffers(pa.int32(), len(lengths) + 1, [None, _offset_buffer(lengths)])
