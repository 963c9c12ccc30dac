"""The studies of a synthetic MIMIC-CXR, without any files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from instruct.synth.draw import Drawing, View, draw_chest
from instruct.synth.keyed import Draws
from instruct.synth.mimic_cxr_labels import label_values
from instruct.synth.mimic_cxr_plan import Labels, Plan, plan_split, split_sizes
from instruct.synth.mimic_cxr_reports import Sections, report_text, sections_of
from instruct.synth.mimic_cxr_views import FRONTALS, LATERALS, PATTERNS, VIEW_ORDER
from instruct.synth.state import ChestState

SPLITS = {"train": "train", "validate": "val", "test": "test"}
"""Published name of each split to its name in the count table."""

_SHAPES = ((192, 160), (160, 192), (176, 144))
_SPLIT_OFFSET = {"train": 0, "validate": 4_000_000, "test": 7_000_000}
_STEP = 6_180_339  # coprime to 10**7, so stepping visits every number once, in no order of time


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of a study.

    Attributes:
        dicom_id: its name.
        view: ViewPosition; empty where the cell is blank.
        height: rows of the JPG.
        width: columns of the JPG.
        path: where it lies below the image folder.
        number: number of the picture, for :func:`drawing`.
    """

    dicom_id: str
    view: str
    height: int
    width: int
    path: str
    number: int

    @property
    def lateral(self) -> bool:
        """Whether the picture is drawn from the side."""
        return self.view in LATERALS


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """A study of the corpus.

    Attributes:
        study_id: number of the study, as published; the study is called ``s<number>``.
        subject_id: number of the patient; the patient is called ``p<number>``.
        split: train, validate or test.
        prior: index, in the corpus, of the study just before it of the same patient; None for a first study.
        date: ``YYYYMMDD``.
        time: StudyTime as printed, without leading zeros.
        images: its images in the published view order, ties by name.
        state: what there is to see.
        labels: CheXpert label to 1, 0, -1 or None for a blank; None for a study without a row.
        sections: sections of its report, each on one line.
        sectioned: whether the official script gives sections of its report.
        report: the report.
    """

    study_id: int
    subject_id: int
    split: str
    prior: int | None
    date: str
    time: str
    images: tuple[Picture, ...]
    state: ChestState
    labels: dict[str, float | None] | None
    sections: Sections
    sectioned: bool
    report: str

    @property
    def study(self) -> str:
        """Name of the study, ``s50000001``."""
        return f"s{self.study_id}"

    @property
    def patient(self) -> str:
        """Name of the patient, ``p10000001``."""
        return f"p{self.subject_id}"

    @property
    def folder(self) -> str:
        """Folder of the patient below the image folder, ``p10/p10000001``."""
        return f"p{str(self.subject_id)[:2]}/{self.patient}"


@lru_cache(maxsize=4)
def plans(studies: int, seed: int) -> dict[str, Plan]:
    """Plan of each split, by its published name."""
    return {split: plan_split(seed, split, size) for split, size in split_sizes(studies).items()}


@lru_cache(maxsize=4)
def corpus(studies: int, seed: int = 0) -> tuple[Study, ...]:
    """The studies that :func:`write` writes: train, validate, test, a patient's next to each other, oldest first."""
    found: list[Study] = []
    for split, plan in plans(studies, seed).items():
        found += _studies(seed, split, plan, len(found))
    return tuple(found)


def drawing(study: Study, picture: Picture, seed: int = 0) -> Drawing:
    """The picture of a study, and where things are in it."""
    draws = Draws(seed, "mimic_cxr", study.split, "pictures")
    view: View = "lateral" if picture.lateral else "frontal"
    return draw_chest(study.state, view, draws, picture.number, height=picture.height, width=picture.width)


def _studies(seed: int, split: str, plan: Plan, first: int) -> list[Study]:
    draws = Draws(seed, "mimic_cxr", split)
    offset, patients = (Draws(seed, "mimic_cxr").number(name, 0) for name in ("studies", "patients"))
    dates = plan.dates()
    numbers = [50_000_000 + (offset + (_SPLIT_OFFSET[split] + k) * _STEP) % 10**7 for k in range(len(plan))]
    for k in plan.tied:  # taken at the same time: the lower number is the earlier study
        numbers[k - 1], numbers[k] = sorted(numbers[k - 1 : k + 1])
    found = []
    for k, number in enumerate(numbers):
        patient = _SPLIT_OFFSET[split] + int(plan.chains.patient[k])
        subject = 10_000_000 + (patients + patient * _STEP) % 10**7
        sections = sections_of(draws, plan, k)
        state = plan.states.at(k)
        moment = draws.number("thousandths", k - 1 if k in plan.tied else k) % 1000
        found.append(
            Study(
                number, subject, split,
                prior=first + k - 1 if plan.chains.position[k] else None,
                date=dates[k],
                time=_clock(int(plan.second[k]), moment),
                images=_pictures(draws, plan, k, f"p{str(subject)[:2]}/p{subject}/s{number}"),
                state=state,
                labels=label_values(state, Labels(plan.labels[k]), draws.stream("labels", k)),
                sections=sections,
                sectioned=k not in plan.skipped,
                report=report_text(draws, plan, k, sections),
            )
        )  # fmt: skip
    return found


def _pictures(draws: Draws, plan: Plan, k: int, folder: str) -> tuple[Picture, ...]:
    pictures = []
    for j, view in enumerate(PATTERNS[plan.pattern[k]].views):
        number = 8 * k + j
        digits = f"{draws.number('dicom', number):032x}{draws.number('dicom end', number):032x}"
        dicom = "-".join(digits[8 * i : 8 * i + 8] for i in range(5))
        height, width = _SHAPES[draws.number("shape", number) % len(_SHAPES)]
        pictures.append(Picture(dicom, view, height, width, f"{folder}/{dicom}.jpg", number))
    return tuple(sorted(pictures, key=lambda picture: (VIEW_ORDER.index(picture.view), picture.dicom_id)))


def _clock(second: int, thousandth: int) -> str:
    """A StudyTime: hours, minutes and seconds run together as a number, so without leading zeros."""
    run = second // 3600 * 10_000 + second // 60 % 60 * 100 + second % 60
    return repr(round(run + thousandth / 1000, 3))


def pair_images(prior: Study, study: Study) -> tuple[Picture, Picture]:
    """The two images of a progression example: the first of each study that both have from the same side."""
    for views in (FRONTALS, LATERALS):
        before = [picture for picture in prior.images if picture.view in views]
        now = [picture for picture in study.images if picture.view in views]
        if before and now:
            return before[0], now[0]
    return prior.images[0], study.images[0]
