"""Synthetic VinDr-PCXR: the tables at the root, and ``train/`` and ``test/`` with small DICOM files."""

from __future__ import annotations

from pathlib import Path

from instruct.synth.planted import Planted
from instruct.synth.vindr_files import Edition, write_edition

# Some of the release's classes, spelt as there.
CLASSES = (
    "Bronchial thickening", "Bronchectasis", "Peribronchovascular interstitial opacity", "Reticulonodular opacity",
    "Diffuse aveolar opacity", "Other opacity", "Consolidation", "Atelectasis", "Lung hyperinflation", "Infiltration",
    "Pleural effusion", "Pneumothorax", "Cardiomegaly", "Boot-shaped heart", "Egg on string sign", "Dextro cardia",
    "Stomach on the right side", "Paraveterbral mass",
)  # fmt: skip
_EDITION = Edition(
    source="vindr_pcxr",
    dataset="VinDr-PCXR",
    classes=CLASSES,
    labels=(
        "Bronchitis", "Brocho-pneumonia", "Other disease", "Bronchiolitis", "Situs inversus", "Pneumonia",
        "Pleuro-pneumonia", "Diagphramatic hernia", "Tuberculosis", "Congenital emphysema", "CPAM",
        "Hyaline membrane disease", "Mediastinal tumor", "Lung tumor",
    ),
    folder="",
    reader="rad_ID",
    readers=1,
    blind_test=False,
    train=7728,
    test=1397,
)  # fmt: skip


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic VinDr-PCXR.

    Args:
        root: folder to write into.
        studies: images over both splits, 20 or more.
        seed: any integer.
        images: also write the DICOM files, without which sizes of images and thus shares of boxes are not known.

    Returns:
        What was planted. Distinct images of Abnormality Grounding are those of a build with seed 0.

    Raises:
        UsageError: too few images, or a VinDr-PCXR corpus is there already.
    """
    return write_edition(_EDITION, root, studies, seed, images=images)
