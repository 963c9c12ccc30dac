"""What a synthetic CheXpert holds, decided before a file is written: studies, views, labels and report texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from instruct.synth import grammar
from instruct.synth.grammar import TRAP_VOICES, Voice
from instruct.synth.keyed import Draws, Stream
from instruct.synth.mimic_cxr_labels import label_values
from instruct.synth.mimic_cxr_plan import Labels
from instruct.synth.quota import apportion, choose, scatter
from instruct.synth.state import ChestState, draw_states

LABELS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)  # fmt: skip

# Views of a study's images in the order of their numbers; "" is a lateral. With the share of such studies.
_VIEWS = {
    ("AP",): 55, ("PA", ""): 18, ("PA",): 10, ("AP", ""): 5, ("AP", "AP"): 3, ("", "PA"): 1, ("AP", "PA", ""): 2,
    ("AP", "AP", "PA"): 1, ("LL",): 1, ("RL", "AP"): 1, ("",): 1,
}  # fmt: skip
VIEW_ORDER = ("PA", "AP", "", "LL", "RL")
"""The published order of a study's images."""

# Kinds of a section's text: none, emptied by cleaning, then by voice. First studies and later ones.
NONE, EMPTIED = "none", "emptied"
_KINDS = (NONE, EMPTIED, Voice.PLAIN, Voice.HISTORY, Voice.CHANGE, *TRAP_VOICES)
_SHARES = {
    "findings": {"first": (70, 1, 22, 4, 0, 1, 1, 1), "later": (62, 1, 8, 0, 23, 2, 2, 2)},
    "impression": {"first": (1, 1, 84, 10, 0, 1, 2, 1), "later": (1, 1, 12, 0, 80, 2, 2, 2)},
}
_SIZES = (1, 2, 1, 4, 1, 1, 3, 1)
_LONG = 11
_LONG_EVERY = 150
# Holds none of the words that cleaning looks for, so that a text that ends in it is never emptied.
_LAST = ("No free air is seen below the diaphragm.", "The soft tissues are unremarkable.")
_GONE = (
    "Please see the report of the prior examination.",
    "Read together with the previous film. No other remark than in the earlier report.",
)


@dataclass(frozen=True)
class Picture:
    """One image: its file name, Frontal or Lateral, and AP/PA as written (blank for laterals)."""

    name: str
    projection: str
    view: str


@dataclass(frozen=True)
class Study:
    """One study.

    Attributes:
        split: train, val or test.
        patient: ``patient00001``.
        number: number of the study.
        pictures: its images in the order of their names.
        state: what there is to see.
        values: value per label.
        findings: text, or None; with its kind.
        impression: text, or None; with its kind.
        history: clinical history, or None.
        age: years, 0 if unknown.
        sex: Male, Female or Unknown.
        reported: whether CheXpert Plus has it.
        index: running number.
    """

    split: str
    patient: str
    number: int
    pictures: tuple[Picture, ...]
    state: ChestState
    values: dict[str, float | None]
    findings: str | None
    findings_kind: object
    impression: str | None
    impression_kind: object
    history: str | None
    age: int
    sex: str
    reported: bool
    index: int

    @property
    def name(self) -> str:
        """``patient00001/study1``."""
        return f"{self.patient}/study{self.number}"

    @property
    def in_view_order(self) -> list[Picture]:
        """The images as an example shows them."""
        return sorted(self.pictures, key=lambda picture: VIEW_ORDER.index(picture.view))


def plan_corpus(seed: int, studies: int) -> list[Study]:
    """The studies of a corpus, by split, patient and number."""
    draws = Draws(seed, "chexpert")
    held_out = max(2, studies // 20)
    sizes = _patient_sizes(draws, studies - 2 * held_out) + [1] * (2 * held_out)
    positions = np.concatenate([np.arange(size) for size in sizes])
    patients = np.repeat(np.arange(len(sizes)), sizes)
    splits = np.repeat(["train", "val", "test"], [studies - 2 * held_out, held_out, held_out]).tolist()
    states = draw_states(draws.child("states"), positions)
    views = _spread(draws, "views", splits, list(_VIEWS.values()))
    kinds = _spread(draws, "labels", splits, (92, 3, 3, 2))
    train = np.array(splits) == "train"
    first = choose(draws, "unreported", np.flatnonzero(train & (positions == 0)), max(1, studies // 50))
    reported = np.array(splits) != "test"
    reported[first] = False
    groups = {"first": train & reported & (positions == 0), "later": train & (positions > 0), "val": reported & ~train}
    findings, impressions = (_text_kinds(draws, section, groups) for section in ("findings", "impression"))
    numbers = np.cumsum(1 + draws.integers("gap", np.arange(len(sizes)), 3))
    corpus: list[Study] = []
    for k, split in enumerate(splits):
        person, stream = int(patients[k]), draws.stream("study", k)
        state = states.at(k)
        if Voice.DEGENERATIVE_CHANGES in (findings[k], impressions[k]):
            state = replace(state, degenerative=1)
        prior = corpus[k - 1].state if positions[k] else None
        label_kind = Labels.NOTHING if split != "train" and kinds[k] else Labels(kinds[k])
        values = label_values(state, label_kind, draws.stream("values", k)) or {}
        of_person = draws.stream("person", person)
        sex = of_person.pick(("Male", "Female")) if k != 1 else "Unknown"
        age = 18 + of_person.below(70) + int(positions[k]) // 4
        corpus.append(
            Study(
                split=split,
                patient=f"patient{numbers[person]:05d}",
                number=int(positions[k]) + 1,
                pictures=_pictures(tuple(_VIEWS)[views[k]]),
                state=state,
                values=values if split == "train" else {label: float(value == 1) for label, value in values.items()},
                findings=_text("findings", findings[k], state, prior, draws.stream("findings", k)),
                findings_kind=findings[k],
                impression=_text("impression", impressions[k], state, prior, draws.stream("impression", k)),
                impression_kind=impressions[k],
                history=None if stream.chance(0.15) else grammar.indication(stream, f"{age}-year-old {sex.lower()}"),
                age=age if k != 0 else 0,
                sex=sex,
                reported=bool(reported[k]),
                index=k,
            )
        )
    return corpus


def _patient_sizes(draws: Draws, studies: int) -> list[int]:
    """Studies per patient; the first and then some patients have study 10 and more."""
    sizes: list[int] = []
    while sum(sizes) < studies:
        wanted = _LONG if sum(sizes) // _LONG_EVERY >= sizes.count(_LONG) else _SIZES[len(sizes) % len(_SIZES)]
        sizes.append(min(wanted, studies - sum(sizes)))
    return [sizes[k] for k in draws.permutation("sizes", len(sizes))]


def _spread(draws: Draws, name: str, splits: list[str], shares: Sequence[int]) -> list[int]:
    """Kinds in exact shares within each split: in training each kind at least once, elsewhere the first two."""
    kinds: list[int] = []
    for split in dict.fromkeys(splits):
        always = range(len(shares) if split == "train" else 2)
        kinds += scatter(draws, f"{name}/{split}", apportion(splits.count(split), shares, always)).tolist()
    return kinds


def _text_kinds(draws: Draws, section: str, groups: dict[str, NDArray[np.bool_]]) -> list[object]:
    """What each study's section is like; the shares are exact within the groups."""
    kinds: list[object] = [NONE] * len(groups["first"])
    for name, group in groups.items():
        shares = _SHARES[section]["later" if name == "later" else "first"]
        # Plain texts and those of change come before the rest where there is too little room for all.
        always = [index for index in (2, 4, 1, 0, 3, 5, 6, 7) if shares[index]]
        drawn = scatter(draws, f"{section}/{name}", apportion(int(group.sum()), shares, always))
        for place, kind in zip(np.flatnonzero(group).tolist(), drawn.tolist(), strict=True):
            kinds[place] = _KINDS[kind]
    return kinds


def _pictures(views: tuple[str, ...]) -> tuple[Picture, ...]:
    return tuple(
        Picture(f"view{number}_{'frontal' if view else 'lateral'}.jpg", "Frontal" if view else "Lateral", view)
        for number, view in enumerate(views, 1)
    )


def _text(section: str, kind: object, state: ChestState, prior: ChestState | None, stream: Stream) -> str | None:
    if kind == NONE:
        return None
    if kind == EMPTIED:
        return stream.pick(_GONE)
    assert isinstance(kind, Voice)
    words = grammar.findings if section == "findings" else grammar.impression
    text = words(state, stream, kind, prior)
    return text if kind is Voice.PLAIN else f"{text} {stream.pick(_LAST)}"
