"""Synthetic COVIDx CXR-4 (or CXR-3): ``train.txt``, ``val.txt``, ``test.txt`` and the images they name.

The negative images of the source ``rsna`` are named by patientIds of the synthetic RSNA corpus beside this one, whose
mapping to ChestX-ray14 is copied.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from PIL import Image

from instruct.synth.draw import draw_chest
from instruct.synth.files import start
from instruct.synth.keyed import Draws
from instruct.synth.planted import Counts, Planted, SplitFacts
from instruct.synth.quota import apportion, scatter
from instruct.synth.state import ChestState

LISTS = ("train.txt", "val.txt", "test.txt")
RSNA = "rsna"
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"

# Source, class, and how its files are named; with the share of such images.
_SOURCES = {
    ("rsna", "negative", ""): 30, ("rnsa", "negative", ""): 2,
    ("stonybrook", "positive", "P-{p:06d}-01-01-1901-NA-CHEST_AP-{k:05d}-1.000000-AP-{k:05d}-1-1.jpg"): 25,
    ("bimcv", "positive", "sub-S{p:05d}_ses-E{k:05d}_run-1_bp-chest_vp-ap_dx.png"): 12,
    ("bimcv", "negative", "sub-S{p:05d}_ses-E{k:05d}_run-2_bp-chest_vp-pa_cr.png"): 12,
    ("ricord", "positive", "MIDRC-RICORD-1C-{p:06d}-{k:06d}-0.png"): 6,
    ("cohen", "positive", "1-s2.0-S{k:016d}-fig2b.png"): 4, ("sirm", "positive", "COVID({k}).png"): 4,
    ("actmed", "negative", "CR.1.2.840.{p:06d}.{k}.2.png"): 3, ("fig1", "positive", "10.1016-j.{k:06d}.jpeg"): 2,
}  # fmt: skip
_MODES = ("L", "L", "RGB", "RGBA")
_SIDE = 128


@dataclass(frozen=True)
class Line:
    """One line of a list."""

    split: str
    patient: str
    file: str
    label: str
    source: str


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True, generation: int = 4) -> Planted:
    """Write a synthetic COVIDx; the RSNA corpus beside it too, if it is not there.

    Args:
        root: folder to write into; RSNA lies in the folder ``rsna`` beside it.
        studies: number of images over all splits, 20 or more.
        seed: any integer.
        images: also write the images: grey, RGB and RGBA.
        generation: 4, or 3 for lists without val.

    Returns:
        What was planted.

    Raises:
        UsageError: too few images, or a COVIDx corpus is there already.
    """
    start(root, studies, (*LISTS, MAPPING, "train", "val", "test"))
    draws = Draws(seed, "covidx_cxr3")
    lines = _plan(draws, studies, _rsna_ids(root.parent / RSNA, studies, seed, images=images), generation)
    (root / MAPPING).write_bytes((root.parent / RSNA / MAPPING).read_bytes())
    for name in LISTS[:: 2 if generation == 3 else 1]:
        own = [line for line in lines if line.split == name.removesuffix(".txt")]
        text = "".join(f"{line.patient} {line.file} {line.label} {line.source}\n" for line in own)
        (root / name).write_text(text, "utf-8", newline="\n")
    if images:
        for k, line in enumerate(lines):
            _draw(root / line.split / line.file, line, draws, k)
    return Planted("covidx_cxr3", _counts(lines), _traps(lines), _facts(lines))


def _rsna_ids(folder: Path, studies: int, seed: int, *, images: bool) -> list[str]:
    """Ids of the RSNA corpus' images without pneumonia, sorted."""
    table = folder / "stage_2_train_labels.csv"
    if not table.exists():
        import_module("instruct.synth.rsna").write(folder, studies=studies, seed=seed, images=images)
    with table.open(encoding="utf-8", newline="") as file:
        return sorted({row["patientId"] for row in csv.DictReader(file) if row["Target"] == "0"})


def _plan(draws: Draws, images: int, rsna: Sequence[str], generation: int) -> list[Line]:
    held_out = max(2, images // 10)
    val = held_out if generation == 4 else 0
    sizes = {"train": images - held_out - val, "val": val, "test": held_out}
    free = [rsna[place] for place in draws.permutation("rsna", len(rsna))]
    lines, k = [], 0
    for split, size in sizes.items():
        counts = apportion(size, list(_SOURCES.values()), range(len(_SOURCES)))
        for kind in scatter(draws, split, counts).tolist():
            source, label, form = tuple(_SOURCES)[kind]
            if form or not free:
                # Some patients have two images, all in one split.
                person = 3 * k if draws.stream("again", k).chance(0.7) or not k else 3 * (k - 1)
                patient, file = _named(source, form or "{p:06d}-{k:05d}.png", person + 10**5 * len(split), k)
            else:
                patient = free.pop()
                file = f"{patient}.png"
            lines.append(Line(split, patient, file, label, source))
            k += 1
    return lines


def _named(source: str, form: str, person: int, k: int) -> tuple[str, str]:
    file = form.format(p=person, k=k)
    patients = {"stonybrook": f"P-{person:06d}", "bimcv": f"S{person:05d}", "actmed": f"ANON{person}"}
    return patients.get(source, str(person)), file


def _draw(path: Path, line: Line, draws: Draws, k: int) -> None:
    path.parent.mkdir(exist_ok=True)
    state = ChestState(opacity=3 if line.label == "positive" else 0, zone=k % 6)
    grey = draw_chest(state, "frontal", draws.child("pictures"), k, height=_SIDE, width=_SIDE).pixels8()
    image = Image.fromarray(grey)
    if path.suffix == ".png":
        image.convert(_MODES[k % len(_MODES)]).save(path, format="PNG", compress_level=1)
    else:
        image.save(path, format="JPEG", quality=80)


def _counts(lines: Sequence[Line]) -> dict[str, dict[str, Counts]]:
    row = {}
    for split in ("train", "val", "test"):
        number = sum(line.split == split for line in lines)
        row[split] = Counts(number, number, number)
    return {"[Image Classification] [COVIDX-CXR-3]": row}


def _traps(lines: Sequence[Line]) -> dict[str, int]:
    to_first_dot = [f"{line.source} {line.file.split('.')[0]}" for line in lines]
    return {
        "names_alike_up_to_first_dot": len(lines) - len(set(to_first_dot)),
        "source_misspelt_rnsa": sum(line.source == "rnsa" for line in lines),
        "images_of_rsna": sum(line.source in ("rsna", "rnsa") for line in lines),
        "names_with_brackets": sum("(" in line.file for line in lines),
        "patients_of_two_images": len(lines) - len({(line.source, line.patient) for line in lines}),
    }


def _facts(lines: Sequence[Line]) -> dict[str, SplitFacts]:
    facts = {}
    for split in ("train", "val", "test"):
        own = [line for line in lines if line.split == split]
        if own:
            patients = len({(line.source, line.patient) for line in own})
            facts[split] = SplitFacts(len(own), len(own), patients, {}, {})
    return facts
