"""Every variant of every shipped template, rendered on a made-up record, as it was when somebody last read it.

CXR_INSTRUCT_UPDATE_GOLDENS=1 pytest tests/prompts/test_goldens.py
writes the files anew; read their difference before you commit it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from instruct.prompts.render import render_records
from instruct.prompts.source import find_template
from instruct.prompts.template import CompiledTemplate, compile_template
from instruct.regions import encode_mask
from instruct.resources import shipped

GOLDENS = Path(__file__).parent / "goldens"
NAMES = sorted(path.stem for path in shipped("templates").glob("[!_]*.jinja"))
UPDATE = os.environ.get("CXR_INSTRUCT_UPDATE_GOLDENS") == "1"

# A blank before a stop, two stops, a brace or a Python value that came through.
SLIPS = re.compile(r" [.,;?](?!\.)|[?:]\.|(?<!\.)\.\.(?!\.)|,,|\bUndefined|\bNone$|\{\w*\}")


def region(label: str, top: int, left: int, bottom: int, right: int) -> dict[str, Any]:
    """A rectangle of an image of 20 by 40 pixels."""
    mask = np.zeros((20, 40), bool)
    mask[top:bottom, left:right] = True
    box = [left / 40, top / 20, right / 40, bottom / 20]
    return {"image": 0, "label": label, "box": box, "mask": encode_mask(mask), "size": [20, 40]}


# Column to its value where there is one of a kind, and where there are several.
VALUES: dict[str, tuple[Any, Any]] = {
    name: value if isinstance(value, tuple) else (value, value)
    for name, value in {
        "answer": "The left lower lobe",
        "answers": (["Cardiomegaly"], ["Cardiomegaly", "Pleural effusion"]),
        "candidate": "Small left effusion. No pneumothorax.",
        "categories": ["false prediction", "omission", "wrong location"],
        "context": "There is a small effusion at the left base. The right lung is clear.",
        "diagnoses": (["Pleural effusion"], ["Pleural effusion", "Atelectasis"]),
        "entities": [["effusion", "observation, present"], ["left", "anatomy"]],
        "errors": [{"category": "false prediction", "number": 0}, {"category": "omission", "number": 2}],
        "explanation": "The left costophrenic angle is blunted.",
        "finding": "pleural effusion",
        "findings": "The heart is mildly enlarged. A small effusion blunts the left costophrenic angle.",
        "hypothesis": "There is fluid at the left base.",
        "impression": "Mild cardiomegaly with a small left effusion.",
        "indication": "Breathless for three days.",
        "label": "Cardiomegaly",
        "options": ["Pleural effusion", "Cardiomegaly", "Fracture"],
        "phrase": "small effusion at the left base",
        "premise": "Small left pleural effusion.",
        "question": "Where is the effusion?",
        "reference": "Small left effusion and basal atelectasis.",
        "regions": (
            [region("nodule", 4, 10, 10, 30)],
            [region("nodule", 4, 10, 10, 30), region("opacity", 12, 2, 18, 9)],
        ),
        "report": "The heart is normal. There is a small effusion at the left base.",
        "sentence_1": "The effusion has grown.",
        "sentence_2": "The effusion is larger than before.",
        "text": "Small effusion at the left base.",
        "types": ["anatomy", "observation, present", "observation, absent"],
    }.items()
}
COURSE = {"options": ["Improving", "Stable", "Worsening"], "answers": ["Stable"]}
OWN: dict[str, dict[str, Any]] = {
    "image_classification_single": {"options": ["Normal", "Pneumonia", "Other"], "answers": ["Pneumonia"]},
    "natural_language_inference": {"options": ["Entailment", "Contradiction", "Neutral"], "answers": ["Entailment"]},
    "temporal_image_classification": COURSE,
    "temporal_sentence_similarity": {"options": ["Paraphrase", "Contradiction"], "answers": ["Paraphrase"]},
    "view_classification": {"options": ["PA", "AP", "Lateral"], "answers": ["AP"]},
}


def examples(template: CompiledTemplate, several: bool) -> list[str]:
    """One example of each variant, as text."""
    own = OWN.get(template.source.name, {})
    unknown = [name for name in template.columns if name not in VALUES]
    assert not unknown, f"give made-up values of the columns {unknown}"
    count = len(template.variants)
    columns = {name: pa.array([own.get(name, VALUES[name][several])] * count) for name in template.columns}
    wanted = template.declarations.images
    images = 0 if wanted == "none" else 1 + several if wanted == "any" else int(wanted)
    rendered = render_records(template, pa.record_batch(columns), [images] * count, np.arange(count)[:, None])
    assert not rendered.faults, rendered.faults
    return [
        "\n".join(f"[{turn['from']}]\n{turn['value']}" for turn in turns)
        for turns in rendered.conversations.conversations.to_pylist()
    ]


def golden(name: str) -> str:
    """All examples of a template; a second one of a variant where several images, regions or answers change it."""
    template = compile_template(find_template(name))
    parts = []
    for number, (one, more) in enumerate(zip(examples(template, False), examples(template, True), strict=True)):
        parts.append(f"=== variant {number}\n{one}\n")
        if more != one:
            parts.append(f"=== variant {number}, several\n{more}\n")
    return "\n".join(parts)


@pytest.mark.parametrize("name", NAMES)
def test_the_wording_is_what_was_read(name):
    text, file = golden(name), GOLDENS / f"{name}.txt"
    if UPDATE:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")
    assert file.is_file(), "no golden file yet: set CXR_INSTRUCT_UPDATE_GOLDENS=1, and read what it writes"
    assert text == file.read_text("utf-8")


def test_there_is_a_golden_file_for_every_template_and_no_other():
    assert {file.stem for file in GOLDENS.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_wording_is_tidy(name):
    text = golden(name)
    for line in text.splitlines():
        assert line == line.strip(), f"stray blanks around {line!r}"
        assert "  " not in line, f"two blanks in {line!r}"
        slip = SLIPS.search(line)
        assert not slip, f"{slip[0]!r} in {line!r}"


@pytest.mark.parametrize("name", NAMES)
def test_no_two_variants_are_the_same(name):
    for several in (False, True):
        prompts = examples(compile_template(find_template(name)), several)
        assert len(set(prompts)) == len(prompts)
