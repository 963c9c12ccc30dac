"""Studies whose short report is a function of their picture, in OpenI's layout, built through the public door."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from instruct.api import build_dataset
from instruct.specs.recipe import Recipe, SourceChoice
from instruct.synth.draw import draw_chest
from instruct.synth.keyed import Draws
from instruct.synth.state import ChestState
from tests.build.helpers import write_report, write_spec, write_template

TASK = "Findings Generation"
HEART = ("The heart size is normal.", "The heart is markedly enlarged.")
EFFUSION = ("No pleural effusion.", "Large right pleural effusion.", "Large left pleural effusion.")


class Study(NamedTuple):
    """A study: what its picture shows, and what its report says."""

    heart: int
    effusion: int

    @property
    def findings(self) -> str:
        """The report."""
        return f"{HEART[self.heart]} {EFFUSION[self.effusion]}"


def studies(number: int) -> list[Study]:
    """Studies in which heart and effusion have nothing to do with each other."""
    return [Study(k % 2, k // 2 % 3) for k in range(number)]


def build_pictures(root: Path, *, train: int = 180, test: int = 48, shuffled: bool = False) -> Path:
    """Write and build the studies.

    Args:
        root: folder to write into.
        train: studies of the training split, the first ones.
        test: studies of the test split.
        shuffled: give the training reports pictures of each other, so that no picture says anything.

    Returns:
        The dataset folder: one row, "[Findings Generation] [Mine]".
    """
    data, specs = root / "data", root / "specs"
    shown = studies(train + test)
    if shuffled:
        mixed = np.random.default_rng(0).permutation(train)
        shown[:train] = [shown[k] for k in mixed]
    for k, (said, seen) in enumerate(zip(studies(train + test), shown, strict=True)):
        name = f"CXR{k + 1}_IM-0001-1001"
        write_report(data, k + 1, said.findings, "", images=[name])
        effusion = {"effusion_right": 3 * (seen.effusion == 1), "effusion_left": 3 * (seen.effusion == 2)}
        drawing = draw_chest(
            ChestState(heart=3 * seen.heart, **effusion), "frontal", Draws(0, "p"), k, height=64, width=64
        )
        file = data / "openi" / "images" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawing.pixels8()).save(file)
    write_template(specs, "what", "Findings?", images="any")
    split = f"CASE WHEN CAST(substr(study, 4) AS INTEGER) <= {train} THEN 'train' ELSE 'test' END"
    query = f"SELECT study AS id, {split} AS split, patient, [study] AS studies, images, findings, origin FROM studies"
    spec = write_spec(specs, {TASK: query})
    spec.write_text(spec.read_text("utf-8").replace(f"template: {TASK}", "template: what"), "utf-8")
    recipe = Recipe(name="pictures", sources={"openi": SourceChoice()}, tasks=[f"[{TASK}] [Mine]"])
    build_dataset(recipe, root / "dataset", data_root=data, specs=[specs])
    return root / "dataset"
