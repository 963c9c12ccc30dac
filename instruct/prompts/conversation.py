"""From the marked text of a rendered batch to nested Arrow columns, without a Python object per example.

The text's bytes are the data of the Arrow columns already; only the offsets must be found. Marks are single bytes, so
NumPy finds them all at once, and everything else is arithmetic on their positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from instruct.prompts.marks import END, FIRST_INDEX, IMAGE, ROLES

_Ints = npt.NDArray[np.int64]

_IMAGE, _END, _ASSISTANT = ord(IMAGE), ord(END), ord(ROLES["assistant"])

PART_TYPE = pa.struct([("type", pa.string()), ("text", pa.string())])
MESSAGE_TYPE = pa.struct([("role", pa.string()), ("content", pa.list_(PART_TYPE))])
TURN_TYPE = pa.struct([("from", pa.string()), ("value", pa.string())])
MESSAGES_TYPE = pa.list_(MESSAGE_TYPE)
CONVERSATIONS_TYPE = pa.list_(TURN_TYPE)

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
        empty_answer: whether an answer of the example has no text.
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
    data = np.frombuffer(text.encode(), np.uint8)
    at = np.flatnonzero(data <= _END)
    code = data[at]
    # The byte after an image mark says which image; it must not be taken for a mark, nor for text.
    is_image, is_end = code == _IMAGE, code == _END
    is_turn = ~is_image & ~is_end
    start = at + 1 + is_image  # of the text that follows the mark
    stop = np.append(at[1:], len(data))
    has_text = (stop > start) & ~is_end

    example = np.cumsum(is_end) - is_end  # example that a mark belongs to
    examples = int(is_end.sum())
    turn = np.cumsum(is_turn) - 1
    turns_of_example = np.bincount(example[is_turn], minlength=examples)

    image_example = example[is_image]
    placed = np.bincount(image_example, minlength=examples)
    first = np.concatenate([[0], np.cumsum(placed)[:-1]]) if examples else np.zeros(0, np.int64)
    expected = np.arange(len(image_example)) - first[image_example]
    wrong = data[at[is_image] + 1].astype(np.int64) - FIRST_INDEX != expected

    answer = is_turn & (code == _ASSISTANT)
    followed = np.append(is_image[1:], False)  # an image stands at the turn's beginning
    empty = answer & ~has_text & ~followed
    return Conversations(
        messages=_messages(data, at, code, start, stop, has_text, is_image, is_turn, turn, turns_of_example),
        conversations=_turns(text, code[is_turn], turns_of_example),
        images_placed=placed,
        in_order=np.bincount(image_example[wrong], minlength=examples) == 0,
        empty_answer=np.bincount(example[empty], minlength=examples) > 0,
    )


def _messages(
    data: npt.NDArray[np.uint8],
    at: _Ints,
    code: npt.NDArray[np.uint8],
    start: _Ints,
    stop: _Ints,
    has_text: npt.NDArray[np.bool_],
    is_image: npt.NDArray[np.bool_],
    is_turn: npt.NDArray[np.bool_],
    turn: _Ints,
    turns_of_example: _Ints,
) -> pa.ListArray:
    # Each mark gives an image part, a text part, both or none; an image stands before the text that follows it.
    parts = has_text.astype(np.int64) + is_image
    part_start = np.cumsum(parts) - parts
    total = int(parts.sum())
    text_part = np.zeros(total, bool)
    text_part[(part_start + is_image)[has_text]] = True

    is_text = np.ones(len(data), bool)
    is_text[at] = False
    is_text[at[is_image] + 1] = False
    lengths = np.zeros(total, np.int64)
    lengths[text_part] = (stop - start)[has_text]
    text = _strings(data[is_text], lengths, valid=text_part)
    kind = pa.array(["image", "text"], pa.string()).take(pa.array(text_part.astype(np.int8)))

    turns = int(is_turn.sum())
    in_turn = turn >= 0
    parts_of_turn = np.bincount(turn[in_turn], weights=parts[in_turn], minlength=turns).astype(np.int64)
    content = pa.ListArray.from_arrays(
        _offsets(parts_of_turn), pa.StructArray.from_arrays([kind, text], fields=list(PART_TYPE))
    )
    role = _ROLE_NAMES.take(pa.array(code[is_turn]))
    messages = pa.StructArray.from_arrays([role, content], fields=list(MESSAGE_TYPE))
    return pa.ListArray.from_arrays(_offsets(turns_of_example), messages)


def _turns(text: str, code: npt.NDArray[np.uint8], turns_of_example: _Ints) -> pa.ListArray:
    """The second view: one text per turn, an image as ``<image>``."""
    raw = text.encode()
    for index in sorted({raw[at + 1] for at in _places(raw)} if len(_places(raw)) else ()):
        raw = raw.replace(bytes([_IMAGE, index]), b"<image>")
    data = np.frombuffer(raw, np.uint8)
    is_mark = data <= _END
    at = np.flatnonzero(is_mark)
    lengths = (np.append(at[1:], len(data)) - at - 1)[data[at] != _END]
    value = _strings(data[~is_mark], lengths)
    turns = pa.StructArray.from_arrays([_SENDER_NAMES.take(pa.array(code)), value], fields=list(TURN_TYPE))
    return pa.ListArray.from_arrays(_offsets(turns_of_example), turns)


def _places(raw: bytes) -> _Ints:
    return np.flatnonzero(np.frombuffer(raw, np.uint8) == _IMAGE)


def _strings(
    data: npt.NDArray[np.uint8], lengths: _Ints, valid: npt.NDArray[np.bool_] | None = None
) -> pa.StringArray:
    bits = None if valid is None or valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    nulls = 0 if bits is None or valid is None else int((~valid).sum())
    return pa.StringArray.from_buffers(
        len(lengths), _offset_buffer(lengths), pa.py_buffer(np.ascontiguousarray(data)), bits, nulls
    )


def _offset_buffer(lengths: _Ints) -> pa.Buffer:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.py_buffer(offsets)


def _offsets(lengths: _Ints) -> pa.Int32Array:
    return pa.Int32Array.from_buffers(pa.int32(), len(lengths) + 1, [None, _offset_buffer(lengths)])
