"""COVIDx CXR-3 and CXR-4 (one Kaggle page, two versions): images of many sources, with or without COVID-19.

Layout: https://www.kaggle.com/datasets/andyczhao/covidx-cxr2. Read are the lists ``train.txt``, ``val.txt`` (CXR-4
alone) and ``test.txt``, or CXR-3's older ``train_COVIDx9B.txt`` and ``test_COVIDx9B.txt``. A line is patient, file,
class and source. Images of RSNA's pneumonia challenge are named by its ids: they are known by the study they are there,
or, with RSNA's mapping file, in ChestX-ray14.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.sources.arrays import stems
from instruct.sources.base import Files, Input, Options, Source, Table, column
from instruct.sources.csv_files import read_csv
from instruct.sources.files import origins
from instruct.sources.rsna_mapping import NAME, nih_images, nih_keys

SPLITS = ("train", "val", "test")
CLASSES = ("positive", "negative")
RSNA = "rsna"
_COLUMNS = ("patient", "file", "class", "source")

_text = pa.string()
IMAGES = Table(
    "One row per image, in the order of the lists: train, val, test.",
    pa.schema(
        [
            column("image", _text, "folder of the split and file name", False),
            column(
                "namespace",
                _text,
                "source that study and patient belong to: covidx_cxr3; of an rsna image, chestxray14 where RSNA's"
                " mapping has it, else rsna",
                False,
            ),
            column(
                "study",
                _text,
                "file name without its last ending; of an rsna image, RSNA's patientId or the study in ChestX-ray14",
                False,
            ),
            column(
                "patient",
                _text,
                "source and patient id: ids of two sources can be the same; of an rsna image, the patient in"
                " ChestX-ray14, or null: RSNA's patientId names an image",
            ),
            column("split", _text, "train, val or test", False),
            column("label", _text, "positive or negative", False),
            column("source", _text, "where the image comes from: rsna (rnsa is a slip), ricord, bimcv, ...", False),
            column("origin", _text, "file and line", False),
        ]
    ),
)


def read(files: Files, options: Options) -> dict[str, pa.Table]:
    """Read the lists, and RSNA's mapping where it is there, into ``images``.

    Raises:
        DataError: a line has other than four fields, or another class than positive and negative; or the mapping is
            malformed.
    """
    lists = pa.concat_tables([_read_list(files, split) for split in SPLITS if files[split]]).combine_chunks()
    cells = {name: lists[name].combine_chunks() for name in lists.column_names}
    arrays = [
        cells["image"],
        *_keys(files, stems(cells["file"]), cells["patient"], cells["source"]),
        cells["split"],
        cells["class"],
        cells["source"],
        cells["origin"],
    ]
    return {"images": pa.table(arrays, schema=IMAGES.schema)}


def _read_list(files: Files, split: str) -> pa.Table:
    path = files[split][0]
    table = read_csv(path, dict.fromkeys(_COLUMNS, _text), delimiter=" ", header=False)
    faulty = pc.invert(pc.is_in(table["class"], value_set=pa.array(CLASSES)))
    for name in _COLUMNS:
        faulty = pc.or_(faulty, pc.is_null(table[name]))
    if pc.any(faulty).as_py():
        row = pc.index(faulty, True).as_py()
        line = " ".join(str(value) for value in table.slice(row, 1).to_pylist()[0].values())
        raise DataError(
            f"{path}:{row + 1}: {line!r}; expected patient, file, positive or negative, and source. Three classes are"
            " those of the A lists; take the B list"
        )
    sources = pc.if_else(pc.equal(table["source"], "rnsa"), RSNA, table["source"])
    table = table.set_column(table.schema.get_field_index("source"), "source", sources)
    table = table.append_column("image", pc.binary_replace_slice(table["file"], 0, 0, f"{split}/"))
    table = table.append_column("split", pa.repeat(pa.scalar(split, _text), len(table)))
    return table.append_column("origin", origins(files.relative(path), len(table)))


def _keys(
    files: Files, names: pa.StringArray, patients: pa.StringArray, sources: pa.StringArray
) -> tuple[pa.StringArray, pa.StringArray, pa.StringArray]:
    """Namespace, study and patient of each image."""
    theirs = pc.equal(sources, RSNA)
    own = pc.if_else(theirs, None, pc.binary_join_element_wise(sources, patients, "/"))
    namespaces = pc.if_else(theirs, RSNA, "covidx_cxr3")
    if not files["rsna_mapping"]:
        return namespaces, names, own
    study, patient = nih_keys(nih_images(files["rsna_mapping"][0], pc.if_else(theirs, names, None)))
    return pc.if_else(study.is_valid(), "chestxray14", namespaces), pc.coalesce(study, names), pc.coalesce(patient, own)


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
    inputs=(
        *(Input(split, _list(split), _OBTAIN, required=split != "val") for split in SPLITS),
        Input(
            "rsna_mapping",
            (NAME,),
            "Copy it from RSNA's folder, or get it from the RSNA's page of the pneumonia challenge: with it an image of"
            " rsna counts as the ChestX-ray14 study behind it, as in RSNA's rows.",
            required=False,
        ),
    ),
    image_folders=(".",),
    tables={"images": IMAGES},
    read=read,
)
