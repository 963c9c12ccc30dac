"""Which views the studies of a synthetic MIMIC-CXR have, and what the metadata table says about each view."""

from __future__ import annotations

from dataclasses import dataclass

VIEW_ORDER = (
    "PA", "AP", "LATERAL", "LL", "AP AXIAL", "AP LLD", "AP RLD", "PA RLD", "PA LLD", "LAO", "RAO", "LPO",
    "XTABLE LATERAL", "SWIMMERS", "",
)  # fmt: skip
"""Published order of views within a study; the blank view is last."""
FRONTALS = frozenset({"PA", "AP", "AP AXIAL", "AP LLD", "AP RLD", "PA RLD", "PA LLD"})
"""Views from the front or the back."""
LATERALS = frozenset({"LATERAL", "LL", "XTABLE LATERAL", "SWIMMERS"})
"""Views from the side."""

_CODE_MEANINGS = {"PA": "postero-anterior", "AP": "antero-posterior", "LATERAL": "lateral", "LL": "left lateral"}


@dataclass(frozen=True, slots=True)
class Pattern:
    """Views of one study.

    Attributes:
        views: ViewPosition of each image, in the published order; an empty text is a blank cell.
        procedure: name of the procedure.
        weight: how often the pattern occurs, relative to the others.
    """

    views: tuple[str, ...]
    procedure: str
    weight: int


_TWO, _PORTABLE, _SINGLE = "CHEST (PA AND LAT)", "CHEST (PORTABLE AP)", "CHEST, SINGLE VIEW"
PATTERNS = (
    Pattern(("PA", "LATERAL"), _TWO, 30),
    Pattern(("AP",), _PORTABLE, 34),
    Pattern(("PA", "LL"), _TWO, 6),
    Pattern(("AP", "LATERAL"), "CHEST (AP AND LAT)", 5),
    Pattern(("AP", "AP"), _PORTABLE, 4),
    Pattern(("LATERAL",), _SINGLE, 3),
    Pattern(("AP", ""), _PORTABLE, 3),
    Pattern(("PA", "PA", "LATERAL"), _TWO, 3),
    Pattern(("",), "", 2),
    Pattern(("LL", "AP AXIAL"), "CHEST (AP AND LAT)", 2),
    Pattern(("PA", "LATERAL", "LAO"), "CHEST, PA, LAT AND OBLIQUES", 1),
    Pattern(("AP", "AP LLD"), "CHEST (LAT DECUB ONLY)", 1),
    Pattern(("XTABLE LATERAL",), _SINGLE, 1),
    Pattern(("LATERAL", "SWIMMERS", ""), "CHEST, SPECIAL VIEWS", 1),
)
"""Patterns; the first is that of a complete examination."""


def code_meaning(view: str) -> str:
    """ViewCodeSequence_CodeMeaning of a view; blank for the views that the table leaves blank."""
    return _CODE_MEANINGS.get(view, "")
