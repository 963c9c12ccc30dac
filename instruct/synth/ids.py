"""Identifiers in the shapes that published datasets use; unique by construction."""

from __future__ import annotations

from instruct.synth.keyed import Draws

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CODE_LENGTH = 12
_CODES = 36**_CODE_LENGTH
_STEP = 2_971_215_073 * 1_073_807_359  # coprime to 36, so stepping visits every code once


def code(draws: Draws, name: str, index: int) -> str:
    """A 12-character code of digits and capitals; different for every index under the same name."""
    value = (draws.number(name, 0) + index * _STEP) % _CODES
    letters = []
    for _ in range(_CODE_LENGTH):
        value, digit = divmod(value, 36)
        letters.append(_ALPHABET[digit])
    # Lowest digit first: it changes with every index, so codes sort in another order than their indices.
    return "".join(letters)


def uid(draws: Draws, name: str, index: int) -> str:
    """A DICOM unique identifier of the ``2.25.<integer>`` form (DICOM PS3.5, annex B.2), 64 characters at most."""
    return f"2.25.{draws.number(name, index)}"
