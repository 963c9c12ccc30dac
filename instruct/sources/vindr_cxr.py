"""VinDr-CXR: 15,000 + 3,000 chest radiographs with boxes of radiologists, 22 classes.

Layout: Nguyen et al., "VinDr-CXR", Scientific Data 2022, and its page on PhysioNet (``vindr-cxr`` 1.0.0). The Kaggle
edition ("VinBigData Chest X-ray Abnormalities Detection", 14 classes) is read as well; it has no labelled test images.
"""

from __future__ import annotations

import pyarrow as pa

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Source
from instruct.sources.vindr import SIZES_INPUTS, TABLES, read_vindr

CLASSES = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation",
    "Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst",
    "Mediastinal shift", "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax",
    "Pulmonary fibrosis", "Rib fracture", "Other lesion",
)  # fmt: skip
_KAGGLE = "train.csv"
_OBTAIN = "Get it with credentialed access from https://physionet.org/content/vindr-cxr/1.0.0/."


def read(files: Files, options: Options) -> dict[str, pa.Table]:
    """Read the tables of boxes, the labels where they are there, and the sizes of images with boxes.

    Raises:
        DataError: see :func:`instruct.sources.vindr.read_vindr`; or the test table is missing.
    """
    if not files["annotations_test"] and files["annotations_train"][0].name != _KAGGLE:
        raise DataError(f"{files.root}: annotations_test.csv not found beside annotations_train.csv. {_OBTAIN}")
    return read_vindr(
        files,
        {"train": "annotations_train", "test": "annotations_test"},
        {"train": "image_labels_train", "test": "image_labels_test"},
        "rad_id",
        CLASSES,
    )


def _places(name: str) -> tuple[str, ...]:
    return (f"annotations/{name}", name)


SOURCE = Source(
    name="vindr_cxr",
    title="VinDr-CXR",
    homepage="https://physionet.org/content/vindr-cxr/1.0.0/",
    folders=("vindr_cxr", "vindr-cxr", "VinDr-CXR", "physionet.org/files/vindr-cxr/1.0.0", "vinbigdata"),
    inputs=(
        Input("annotations_train", (*_places("annotations_train.csv"), _KAGGLE), _OBTAIN),
        Input("annotations_test", _places("annotations_test.csv"), _OBTAIN, required=False),
        Input("image_labels_train", _places("image_labels_train.csv"), _OBTAIN, required=False),
        Input("image_labels_test", _places("image_labels_test.csv"), _OBTAIN, required=False),
        *SIZES_INPUTS,
    ),
    image_folders=(".",),
    tables=TABLES,
    marks=(b"rad_id",),
    read=read,
)
