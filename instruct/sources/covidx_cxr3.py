"""COVIDx CXR-3 and CXR-4 (one Kaggle page, two versions): images of many sources, with or without COVID-19.

Layout: https://www.kaggle.com/datasets/andyczhao/covidx-cxr2. Read are the lists ``train.txt``, ``val.txt`` (CXR-4
alone) and ``test.txt``, or CXR-3's older ``train_COVIDx9B.txt`` and ``test_COVIDx9B.txt``. A line is patient, file,
class and source.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Source, Table, column
from instruct.sources.files import origins, read_csv

SPLITS = ("train", "val", "test")
CLASSES = ("positive", "negative")
_COLUMNS = ("patient", "file", "class", "source")

_text = pa.string()
IMAGES = Table(
    "One row per image, in the order of the lists: train, val, test.",
    pa.schema(
        [
            column("image", _text, "folder of the split and file name", False),
            column("study", _text, "file name without its last ending; of an rsna image, RSNA's patientId", False),
            column("patient", _text, "source and patient id: ids of two sources can be the same", False),
            column("split", _text, "train, val or test", False),
            column("label", _text, "positive or negative", False),
            column("source", _text, "where the image comes from: rsna (rnsa is a slip), ricord, bimcv, ...", False),
            column("origin", _text, "file and line", False),
        ]
    ),
)


def read(files: Files, options: Options) -> dict[str, pa.Table]:
    """Read the lists into ``images``.

    Raises:
        DataError: a line has other than four fields, or another class than positive and negative.
    """
    return {"images": pa.concat_tables([_read_list(files, split) for split in SPLITS if files[split]])}


def _read_list(files: Files, split: str) -> pa.Table:
    path = files[split][0]
    table = read_csv(path, dict.fromkeys(_COLUMNS, _text), delimiter=" ", header=False).combine_chunks()
    patients, names, labels, sources = (table[name].combine_chunks() for name in _COLUMNS)
    faulty = pc.or_(
        pc.invert(pc.fill_null(pc.is_in(labels, value_set=pa.array(CLASSES)), False)),
        pc.or_(pc.or_(pc.is_null(patients), pc.is_null(names)), pc.is_null(sources)),
    )
    if pc.any(faulty).as_py():
        row = pc.index(faulty, True).as_py()
        line = " ".join(str(value) for value in table.slice(row, 1).to_pylist()[0].values())
        raise DataError(
            f"{path}:{row + 1}: {line!r}; expected patient, file, positive or negative, and source. Three classes are"
            " those of the A lists; take the B list"
        )
    sources = pc.if_else(pc.equal(sources, "rnsa"), "rsna", sources)
    arrays = [
        pc.binary_join_element_wise(split, names, "/"),
        _stems(names),
        pc.binary_join_element_wise(sources, patients, "/"),
        pa.repeat(pa.scalar(split), len(table)),
        labels,
        sources,
        origins(files.relative(path), len(table)),
    ]
    return pa.table(arrays, schema=IMAGES.schema)


def _stems(names: pa.Array) -> pa.Array:
    """Names without their last endings: .png, .jpg or .jpeg."""
    four = pc.ends_with(names, ".jpeg", ignore_case=True)
    return pc.if_else(four, pc.utf8_slice_codeunits(names, 0, -5), pc.utf8_slice_codeunits(names, 0, -4))


_OBTAIN = (
    "Download it from https://www.kaggle.com/datasets/andyczhao/covidx-cxr2 (free account): version 9 is CXR-4, the"
    " count table's; version 5 is CXR-3."
)


def _list(split: str) -> tuple[str, ...]:
    return (f"{split}.txt", f"{split}_COVIDx9B.txt", f"labels/{split}_COVIDx9B.txt")


SOURCE = Source(
    name="covidx_cxr3",
    title="COVIDx CXR-3 and CXR-4",
    homepage="https://www.kaggle.com/datasets/andyczhao/covidx-cxr2",
    folders=("covidx_cxr3", "covidx-cxr2", "covidx", "COVIDx", "COVIDX-CXR-3", "covidx_cxr4"),
    inputs=tuple(Input(split, _list(split), _OBTAIN, required=split != "val") for split in SPLITS),
    image_folders=(".",),
    tables={"images": IMAGES},
    read=read,
    modules=("instruct.sources.covidx_cxr3", "instruct.sources.files"),
)
