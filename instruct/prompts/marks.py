"""The marks that a rendered batch is cut at: single control bytes, which no text may contain.

A rendered batch is one text. Each example is a run of turns, closed by :data:`END`; a turn opens with the mark of its
role; an image is :data:`IMAGE` and one byte that says which, counted from :data:`FIRST_INDEX`.
"""

from __future__ import annotations

import re

ROLES = {"system": "\x01", "user": "\x02", "assistant": "\x03"}
IMAGE = "\x04"
END = "\x05"
FIRST_INDEX = 0x20
MAX_IMAGES = 90

MARK = re.compile("[\x01-\x05]")

# Texts that a model family reads as control tokens: in a report they would shift images or end a turn.
SPECIAL_TOKEN = re.compile(
    r"<\|[^|>\n]{1,40}\|>|</?s>|<(?:image|video|bos|eos|pad|unk|image_soft_token|start_of_image|end_of_image"
    r"|start_of_turn|end_of_turn|fake_token_around_image|global-img|end_of_utterance|img|/img)>|\[/?INST\]|\[IMG\]"
)


def image_mark(index: int) -> str:
    """The mark of an example's image.

    Args:
        index: position in the example's images, from 0, below :data:`MAX_IMAGES`.
    """
    return IMAGE + chr(FIRST_INDEX + index)
