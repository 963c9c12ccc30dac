"""VinDr-PCXR: 7,728 + 1,397 chest radiographs of children with boxes of one radiologist each, 36 classes.

Layout: Pham et al., "VinDr-PCXR", and its page on PhysioNet (``vindr-pcxr`` 1.0.0). Classes are spelt as in the release
(``Diffuse aveolar opacity``, ``Paraveterbral mass``).
"""

from __future__ import annotations

import pyarrow as pa

from instruct.sources.base import Files, Input, Options, Source
from instruct.sources.vindr import SIZES_INPUTS, TABLES, read_vindr

_OBTAIN = "Get it with credentialed access from https://physionet.org/content/vindr-pcxr/1.0.0/."


def read(files: Files, options: Options) -> dict[str, pa.Table]:
    """Read the tables of boxes, the labels where they are there, and the sizes of images with boxes.

    Raises:
        DataError: see :func:`instruct.sources.vindr.read_vindr`.
    """
    return read_vindr(
        files,
        {"train": "annotations_train", "test": "annotations_test"},
        {"train": "image_labels_train", "test": "image_labels_test"},
        "rad_ID",
        (),
    )


def _places(name: str) -> tuple[str, ...]:
    return (name, f"annotations/{name}")


SOURCE = Source(
    name="vindr_pcxr",
    title="VinDr-PCXR",
    homepage="https://physionet.org/content/vindr-pcxr/1.0.0/",
    folders=("vindr_pcxr", "vindr-pcxr", "VinDr-PCXR", "physionet.org/files/vindr-pcxr/1.0.0"),
    inputs=(
        Input("annotations_train", _places("annotations_train.csv"), _OBTAIN),
        Input("annotations_test", _places("annotations_test.csv"), _OBTAIN),
        Input("image_labels_train", _places("image_labels_train.csv"), _OBTAIN, required=False),
        Input("image_labels_test", _places("image_labels_test.csv"), _OBTAIN, required=False),
        *SIZES_INPUTS,
    ),
    image_folders=(".",),
    tables=TABLES,
    marks=(b"rad_ID",),
    read=read,
)
