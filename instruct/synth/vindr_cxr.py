"""Synthetic VinDr-CXR: ``annotations/*.csv`` and ``train/`` and ``test/`` with small DICOM files."""

from __future__ import annotations

from pathlib import Path

from instruct.synth.planted import Planted
from instruct.synth.vindr_files import Edition, write_edition

CLASSES = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation",
    "Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst",
    "Mediastinal shift", "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax",
    "Pulmonary fibrosis", "Rib fracture", "Other lesion",
)  # fmt: skip
_EDITION = Edition(
    source="vindr_cxr",
    dataset="VinDr-CXR",
    classes=CLASSES,
    labels=(*CLASSES, "COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other diseases"),
    folder="annotations",
    reader="rad_id",
    readers=3,
    blind_test=True,
    train=15000,
    test=3000,
)


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic VinDr-CXR.

    Args:
        root: folder to write into.
        studies: images over both splits, 20 or more.
        seed: any integer.
        images: also write the DICOM files, without which sizes of images and thus shares of boxes are not known.

    Returns:
        What was planted. Distinct images of Abnormality Grounding are those of a build with seed 0.

    Raises:
        UsageError: too few images, or a VinDr-CXR corpus is there already.
    """
    return write_edition(_EDITION, root, studies, seed, images=images)
