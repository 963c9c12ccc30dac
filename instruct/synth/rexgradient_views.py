"""View labels of synthetic REX-Gradient studies, with the image that the key-image rule picks.

The rule of the project: PA, POSTERO_ANTERIOR, AP, ANTERO_POSTERIOR, AP AXIAL, then any other non-lateral label,
then UNKNOWN / N/A / missing, then obliques, then laterals; the first listed of the best.
Each pattern below states its key image itself, so that the corpus does not depend on an implementation of the rule.
"""

from __future__ import annotations

from dataclasses import dataclass

from instruct.synth.keyed import Draws, Ints
from instruct.synth.quota import apportion, scatter

Label = str | None
LATERALS = frozenset({"LATERAL", "LAT", "LL"})


@dataclass(frozen=True, slots=True)
class Pattern:
    """Labels of one study.

    Attributes:
        labels: one per image, None for a JSON null.
        key: place of the key image.
        weight: share among studies with as many images.
        trap: what is hard about it (a name of the planted traps), or ``""``.
        always: planted at least once in every corpus that is large enough.
    """

    labels: tuple[Label, ...]
    key: int
    weight: float
    trap: str = ""
    always: bool = False


_UNLABELLED, _SIDEWAYS, _LATERAL_FIRST, _ODD = (
    "key_image_without_frontal_label", "key_image_only_lateral_or_oblique", "key_image_lateral_listed_first",
    "key_image_odd_label",
)  # fmt: skip
_TIE = "key_image_tie_by_list_order"
_BETTER_LATER = "key_image_better_frontal_listed_later"

_ONE = (
    Pattern(("AP",), 0, 44),
    Pattern(("PA",), 0, 22),
    Pattern(("UNKNOWN",), 0, 21, _UNLABELLED, True),
    Pattern((None,), 0, 4, _UNLABELLED, True),
    Pattern(("LATERAL",), 0, 0.8, _SIDEWAYS, True),
    Pattern(("POSTERO_ANTERIOR",), 0, 1),
    Pattern(("ANTERO_POSTERIOR",), 0, 2),
    Pattern(("AP AXIAL",), 0, 1),
    Pattern(("ERECT",), 0, 0.8, _ODD),
    Pattern(("SUPINE",), 0, 0.8, _ODD),
    Pattern(("DECUBITUS",), 0, 0.3, _ODD),
    Pattern(("KUB",), 0, 0.2, _ODD),
    Pattern(("PICC LINE",), 0, 0.3, _ODD),
    Pattern(("OTHER",), 0, 0.5, _ODD),
    Pattern(("N/A",), 0, 0.8, _UNLABELLED),
    Pattern(("RAO",), 0, 0.2, _SIDEWAYS),
    Pattern(("OBLIQUE",), 0, 0.2, _SIDEWAYS),
)
_TWO = (
    Pattern(("PA", "LATERAL"), 0, 43),
    Pattern(("LATERAL", "PA"), 1, 16, _LATERAL_FIRST, True),
    Pattern(("UNKNOWN", "LATERAL"), 0, 10, _UNLABELLED),
    Pattern(("LATERAL", "UNKNOWN"), 1, 5, _UNLABELLED, True),
    Pattern((None, "LATERAL"), 0, 2, _UNLABELLED, True),
    Pattern(("AP", "PA"), 1, 1, _BETTER_LATER, True),
    Pattern(("LATERAL", "LL"), 0, 0.4, _SIDEWAYS, True),
    Pattern(("PA", "LAT"), 0, 5),
    Pattern(("LL", "PA"), 1, 2, _LATERAL_FIRST),
    Pattern(("AP", "LATERAL"), 0, 6),
    Pattern(("AP", "AP"), 0, 2, _TIE),
    Pattern(("UNKNOWN", "UNKNOWN"), 0, 1, _UNLABELLED),
    Pattern(("UNKNOWN", None), 0, 0.3, _UNLABELLED),
    Pattern((None, None), 0, 0.4, _UNLABELLED),
    Pattern(("N/A", "LL"), 0, 0.4, _UNLABELLED),
    Pattern(("LATERAL", "SUPINE"), 1, 0.5, _ODD),
    Pattern(("UNKNOWN", "ERECT"), 1, 0.5, _ODD),
    Pattern(("AP AXIAL", "AP"), 1, 0.4, _BETTER_LATER),
    Pattern(("ANTERO_POSTERIOR", "POSTERO_ANTERIOR"), 1, 0.3, _BETTER_LATER),
    Pattern(("LATERAL", "ANTERO_POSTERIOR"), 1, 0.6, _LATERAL_FIRST),
    Pattern(("POSTERO_ANTERIOR", "LATERAL"), 0, 2),
    Pattern(("LATERAL", "LPO"), 1, 0.2, _SIDEWAYS),
    Pattern(("OBLIQUE", "LATERAL"), 0, 0.2, _SIDEWAYS),
    Pattern(("LAO", "UNKNOWN"), 1, 0.2, _UNLABELLED),
)
_THREE = (
    Pattern(("LATERAL", "LATERAL", "PA"), 2, 25, _LATERAL_FIRST),
    Pattern(("PA", "LATERAL", "LATERAL"), 0, 30),
    Pattern(("PA", "LATERAL", "UNKNOWN"), 0, 15),
    Pattern(("UNKNOWN", "AP", "LATERAL"), 1, 10, _BETTER_LATER),
    Pattern(("LATERAL", "UNKNOWN", "UNKNOWN"), 1, 10, _UNLABELLED),
    Pattern(("LATERAL", None, "AP"), 2, 10, _LATERAL_FIRST),
)
_FOUR = (
    Pattern(("PA", "LATERAL", "LAO", "RAO"), 0, 40),
    Pattern(("LATERAL", "LL", "PA", "PA"), 2, 30, _LATERAL_FIRST),
    Pattern(("RPO", "LPO", "OBLIQUE", "LATERAL"), 0, 10, _SIDEWAYS),
    Pattern(("AP", "LATERAL", "AP", "UNKNOWN"), 0, 20, _TIE),
)
PATTERNS: tuple[Pattern, ...] = (*_ONE, *_TWO, *_THREE, *_FOUR)
"""Every pattern; the position in this tuple is the pattern's number."""


def draw_patterns(draws: Draws, studies: int, images: int) -> Ints:
    """Number of the pattern of each study, so that the patterns hold exactly as many images as asked.

    Args:
        draws: source of randomness.
        studies: number of studies.
        images: total of images, from ``studies`` to twice that.
    """
    four = studies // 100
    three = 6 * studies // 100
    two = images - studies - 2 * three - 3 * four
    sizes = (studies - two - three - four, two, three, four)
    counts: list[int] = []
    for size, patterns in zip(sizes, (_ONE, _TWO, _THREE, _FOUR), strict=True):
        always = [i for i, pattern in enumerate(patterns) if pattern.always]
        counts.extend(apportion(size, [pattern.weight for pattern in patterns], always))
    return scatter(draws, "views", counts)
