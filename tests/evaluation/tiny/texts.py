"""Invented reports, and the pairs of them that are scored."""

from __future__ import annotations

_VOCABULARY = (
    "the heart is normal in size lungs are clear no acute disease small left right bilateral pleural "
    "effusion effusions pneumothorax mild moderate severe cardiomegaly with basilar bibasilar atelectasis "
    "opacity lobe lower upper stable unchanged since prior study findings cardiopulmonary process edema "
    "there seen and of a "
)
WORDS = _VOCABULARY.split()
LONG = " ".join(
    " ".join(WORDS[(7 * i) % len(WORDS)] for i in range(start, start + 9)).capitalize() + "."
    for start in range(0, 306, 9)
)
TEXTS = (
    "No acute cardiopulmonary process.",
    "No acute findings.",
    "Small bilateral pleural effusions with bibasilar atelectasis.",
    "Bilateral pleural effusions and basilar atelectasis.",
    "Mild cardiomegaly. No pleural effusion.",
    "Mild cardiomegaly with clear lungs.",
    "Stable",
    "The heart is normal in size; lungs are clear. Left lower-lobe opacity (unchanged since prior study).",
    "MILD Edema, severe Pneumothorax: right upper lobe? There is no effusion!",
    "Moderate   right effusion.\nStable   left effusion.",
    LONG,
    "ok",
    "",
)
PAIRS = [
    (one, other) for one in range(len(TEXTS)) for other in (one, (one + 1) % len(TEXTS), (3 * one + 2) % len(TEXTS))
]
