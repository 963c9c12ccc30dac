"""The marks that a rendered batch is cut at: control bytes, which no text may contain.

A rendered batch is one text. Each example is a run of turns, closed by :data:`END`; a turn opens with the mark of its
role; an image is :data:`IMAGE` and two digits that say which, to the base of :data:`DIGITS`; a text that is put in
later is :data:`VALUE` and two such digits.
"""

from __future__ import annotations

import re

ROLES = {"system": "\x01", "user": "\x02", "assistant": "\x03"}
IMAGE = "\x04"
VALUE = "\x00"
END = "\x05"
# Control bytes too, which no text holds.
DIGITS = tuple(chr(code) for code in range(0x0E, 0x20))
MAX_IMAGES = len(DIGITS) ** 2

CONTROL = r"[\x00-\x05\x0e-\x1f]"
MARK = re.compile(CONTROL)

# Texts that a model family reads as control tokens: in a report they would shift images or end a turn.
SPECIAL_TOKEN = re.compile(
    r"<\|[^|>\n]{1,40}\|>|</?s>|<(?:image|video|bos|eos|pad|unk|image_soft_token|start_of_image|end_of_image"
    r"|start_of_turn|end_of_turn|fake_token_around_image|global-img|end_of_utterance|img|/img)>|\[/?INST\]|\[IMG\]"
)


def image_mark(index: int) -> str:
    """The mark of an example's image.

    Args:
        index: position in the example's images, from 0.

    Raises:
        ValueError: the index is :data:`MAX_IMAGES` or more.
    """
    if index >= MAX_IMAGES:
        raise ValueError(f"an example has at most {MAX_IMAGES} images")
    return IMAGE + _number(index)


def value_mark(index: int) -> str:
    """The mark of a text that is put in later.

    Args:
        index: which of the texts, from 0; below ``len(DIGITS) ** 2``.
    """
    return VALUE + _number(index)


def _number(index: int) -> str:
    return DIGITS[index // len(DIGITS)] + DIGITS[index % len(DIGITS)]
