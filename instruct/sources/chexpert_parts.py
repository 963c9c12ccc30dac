"""The tables of CheXpert and CheXpert Plus, each read into the same shape: what it says of which images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instruct.sources.base import Files
from instruct.sources.chexpert_paths import Ints, Paths, parse_paths, parse_studies, together
from instruct.sources.csv_files import read_csv, refuse_others
from instruct.sources.files import origins

LABELS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)  # fmt: skip
SECTIONS = {
    "findings": "section_findings",
    "impression": "section_impression",
    "indication": "section_clinical_history",
    "comparison": "section_comparison",
}
Floats = npt.NDArray[np.float32]

_text = pa.string()
_ABOUT = {"Frontal/Lateral": _text, "AP/PA": _text, "Sex": _text, "Age": pa.int32()}


@dataclass(frozen=True)
class Part:
    """Some images, one value per image.

    Attributes:
        paths: their paths, taken apart.
        about: columns Frontal/Lateral, AP/PA, Sex and Age; null where the table lacks them.
        labels: values of :data:`LABELS`, shape (images, 14), NaN where blank.
        labelled: whether the table has labels at all.
        origin: file and row.
    """

    paths: Paths
    about: pa.Table
    labels: Floats
    labelled: npt.NDArray[np.bool_]
    origin: pa.Array


@dataclass(frozen=True)
class Reports:
    """Reports of studies, one value per study.

    Attributes:
        keys: the studies' keys, ascending.
        columns: one per section of :data:`SECTIONS`, and ``report_origin``.
    """

    keys: Ints
    columns: Mapping[str, pa.Array]


def read_labels(files: Files, name: str) -> Part:
    """Read train.csv, valid.csv or test.csv."""
    path = files[name][0]
    wanted = {"Path": _text, **dict.fromkeys(LABELS, pa.float32())}
    table = read_csv(path, wanted, optional=_ABOUT)
    return Part(
        parse_paths(path, table["Path"], "Path"),
        table.select(list(_ABOUT)),
        _label_values(path, table),
        np.ones(len(table), bool),
        origins(files.relative(path), len(table), 2),
    )


def read_groundtruth(files: Files, image_folder: Path) -> Part:
    """Read groundtruth.csv, which labels the studies of the test set and does not list their images.

    Their images are those on disk; a study without any there is taken to have ``view1_frontal.jpg``.
    """
    path = files["groundtruth"][0]
    table = read_csv(path, {"Study": _text, **dict.fromkeys(LABELS, pa.float32())})
    studies = parse_studies(path, table["Study"], "Study")
    folders = pc.binary_join_element_wise("test", studies.studies(), "/").to_pylist()
    rows, images = [], []
    for row, folder in enumerate(folders):
        names = sorted(file.name for file in (image_folder / folder).glob("view*_*.*")) or ["view1_frontal.jpg"]
        rows += [row] * len(names)
        images += [f"{folder}/{name}" for name in names]
    return Part(
        parse_paths(image_folder / "test", pa.array(images, _text), "image"),
        pa.table({name: pa.nulls(len(rows), kind) for name, kind in _ABOUT.items()}),
        _label_values(path, table)[rows],
        np.ones(len(rows), bool),
        origins(files.relative(path), len(table), 2).take(pa.array(rows, pa.int64())),
    )


def read_plus(files: Files) -> tuple[Part, Reports]:
    """Read CheXpert Plus: its images, and the report of each of its studies."""
    path = files["plus"][0]
    about = dict(zip(("frontal_lateral", "ap_pa", "sex", "age"), _ABOUT, strict=True))
    kinds = {name: _text if name != "age" else pa.float64() for name in about}
    table = read_csv(
        path,
        {"path_to_image": _text, SECTIONS["findings"]: _text, SECTIONS["impression"]: _text},
        optional={**kinds, SECTIONS["indication"]: _text, SECTIONS["comparison"]: _text},
    )
    paths = parse_paths(path, table["path_to_image"], "path_to_image")
    origin = origins(files.relative(path), len(table), 2)
    keys, first = np.unique(paths.study_key, return_index=True)
    rows = pa.array(first)
    described = table.select(list(about)).rename_columns(list(about.values()))
    written = {name: table[column] for name, column in SECTIONS.items()}
    count = len(table)
    del table
    texts = {}
    for name in SECTIONS:  # a column is forgotten when it is done
        texts[name] = _one_line(written.pop(name).take(rows).combine_chunks())
    described = described.set_column(3, "Age", described["Age"].cast(pa.int32(), safe=False))
    no_labels = np.broadcast_to(np.float32(np.nan), (count, len(LABELS)))
    part = Part(paths, described, no_labels, np.zeros(count, bool), origin)
    return part, Reports(keys, {**texts, "report_origin": origin.take(rows)})


def join(parts: list[Part]) -> Part:
    """Several parts as one; an image that an earlier part has is left out of the later ones."""
    known = np.zeros(0, np.int64)
    fresh = []
    for part in parts:
        new = ~np.isin(part.paths.image_key, known)
        known = np.concatenate([known, part.paths.image_key])
        fresh.append(part if new.all() else _take(part, np.flatnonzero(new)))
    return Part(
        together([part.paths for part in fresh]),
        pa.concat_tables([part.about for part in fresh]),
        np.concatenate([part.labels for part in fresh]),
        np.concatenate([part.labelled for part in fresh]),
        pa.concat_arrays([part.origin for part in fresh]),
    )


def _take(part: Part, rows: Ints) -> Part:
    places = pa.array(rows)
    return Part(
        part.paths.take(rows),
        part.about.take(places),
        part.labels[rows],
        part.labelled[rows],
        part.origin.take(places),
    )


def _label_values(path: Path, table: pa.Table) -> Floats:
    refuse_others(path, table, LABELS, (1, 0, -1, None))
    return np.stack([table[label].to_numpy() for label in LABELS], axis=1)


def _one_line(texts: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(texts, r"\s{2,}|[\t\n\r\f\v]", " ")
