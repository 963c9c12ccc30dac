"""OpenI, the Indiana University chest X-ray collection: 3,955 reports as XML, 7,470 images as PNG.

Layout: https://openi.nlm.nih.gov/faq (NLMCXR_reports.tgz, NLMCXR_png.tgz). The collection has no splits; the count
table takes all of it as test.
"""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
from lxml import etree

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Source, Table, column
from instruct.sources.csv_files import read_csv

SECTIONS = ("COMPARISON", "INDICATION", "FINDINGS", "IMPRESSION")

_text = pa.string()
STUDIES = Table(
    "One row per report, ordered by its number.",
    pa.schema(
        [
            column("study", _text, "uId: CXR and the number of the report", False),
            column("number", pa.int32(), "number of the report", False),
            column("split", _text, "always test", False),
            column("patient", _text, "same as study: the collection holds one report per patient", False),
            *(
                column(section.lower(), _text, f"section {section}, trimmed; null where it has no text")
                for section in SECTIONS
            ),
            column("images", pa.list_(_text), "image file names, in the report's order", False),
            column("mesh_major", pa.list_(_text), "manual codes: 'normal' or Term/modifier/...", False),
            column("mesh_automatic", pa.list_(_text), "codes assigned by a program", False),
            column("origin", _text, "file of the report", False),
        ]
    ),
)

IMAGES = Table(
    "One row per image of a report.",
    pa.schema(
        [
            column("image", _text, "file name", False),
            column("study", _text, "report it belongs to", False),
            column("position", pa.int32(), "position in the report, from 1", False),
            column("view", _text, "View Position of the DICOM header; null where it has none or the table is absent"),
        ]
    ),
)


def read(files: Files, options: Options) -> dict[str, pa.Table]:
    """Read the reports (and, where present, the DICOM header table) into ``studies`` and ``images``.

    Raises:
        DataError: a report is cut off, is no OpenI report, lacks its sections, or two reports have one id.
    """
    rows = sorted(
        (_report(files.root, place, xml) for place, xml in _documents(files)), key=lambda row: int(row["number"])
    )
    for first, second in pairwise(rows):
        if first["study"] == second["study"]:
            raise DataError(
                f"{files.root / second['origin']}: report {second['study']} stands also in {first['origin']}"
            )
    views = _views(files)
    images = [
        {"image": image, "study": row["study"], "position": position, "view": views.get(image.removesuffix(".png"))}
        for row in rows
        for position, image in enumerate(row["images"], 1)
    ]
    return {
        "studies": pa.Table.from_pylist(rows, STUDIES.schema),
        "images": pa.Table.from_pylist(images, IMAGES.schema),
    }


def _documents(files: Files) -> Iterator[tuple[str, bytes]]:
    """Every report's place below the root, as provenance names it, and its XML text."""
    for path in files["reports"]:
        place = files.relative(path)
        if place.endswith(".xml"):
            yield place, path.read_bytes()
            continue
        try:
            with tarfile.open(path) as archive:
                for member in archive:
                    if member.isfile() and member.name.endswith(".xml"):
                        content = archive.extractfile(member)
                        assert content is not None  # a regular file has content
                        yield f"{place}/{member.name}", content.read()
                while archive.fileobj is not None and archive.fileobj.read(1 << 20):
                    continue  # the check sum stands at the end
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise DataError(f"{path}: the archive cannot be read to its end ({error}); get it again") from None


_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True)


def _report(root_folder: Path, place: str, xml: bytes) -> dict[str, Any]:
    where = f"{root_folder}/{place}"
    try:
        root = etree.fromstring(xml, _PARSER)
    except etree.XMLSyntaxError as error:
        line = error.lineno or 1
        raise DataError(f"{where}:{line}: malformed XML ({error.msg}); the file may be cut off, get it again") from None
    identifier = root.find("uId")
    study = identifier.get("id", "") if identifier is not None else ""
    if root.tag != "eCitation" or not re.fullmatch("CXR[0-9]{1,9}", study):
        raise DataError(f"{where}:1: not an OpenI report; expected <eCitation> with <uId id='CXR<number>'>")
    sections: dict[str, str | None] = {}
    for element in root.iterfind("MedlineCitation/Article/Abstract/AbstractText"):
        label = element.get("Label", "")
        if label in sections:
            raise DataError(f"{where}:{element.sourceline}: report {study} has the section {label} twice")
        # Text can be mixed with markup; all of it belongs to the section.
        text = "".join(element.itertext()) if len(element) else element.text
        sections[label] = (text or "").strip() or None
    missing = [section for section in SECTIONS if section not in sections]
    if missing:
        raise DataError(
            f"{where}:1: report {study} has no section {', '.join(missing)}; expected {', '.join(SECTIONS)}"
        )
    images = [image.get("id") for image in root.iterfind("parentImage")]
    if not all(images):
        raise DataError(f"{where}:1: report {study} has a parentImage without an id")
    return {
        "study": study,
        "number": int(study[3:]),
        "split": "test",
        "patient": study,
        **{section.lower(): sections[section] for section in SECTIONS},
        "images": [f"{image}.png" for image in images],
        "mesh_major": [element.text for element in root.iterfind("MeSH/major") if element.text],
        "mesh_automatic": [element.text for element in root.iterfind("MeSH/automatic") if element.text],
        "origin": place,
    }


def _views(files: Files) -> dict[str, str]:
    """Image stem to View Position, from the optional table of DICOM headers."""
    views: dict[str, str] = {}
    for path in files["dicom_metadata"]:
        table = read_csv(path, {"imageid": pa.string(), "View Position": pa.string()})
        views |= {row["imageid"]: row["View Position"] for row in table.to_pylist() if row["View Position"]}
    return views


SOURCE = Source(
    name="openi",
    title="OpenI (Indiana University chest X-rays)",
    homepage="https://openi.nlm.nih.gov",
    folders=("openi", "OpenI", "iu_xray", "NLMCXR"),
    inputs=(
        Input(
            "reports",
            ("ecgen-radiology/*.xml", "NLMCXR_reports/ecgen-radiology/*.xml", "NLMCXR_reports.tgz"),
            "Download NLMCXR_reports.tgz (open access) from https://openi.nlm.nih.gov/faq.",
        ),
        Input(
            "dicom_metadata",
            ("nlmcxr_dicom_metadata.csv.gz", "nlmcxr_dicom_metadata.csv"),
            "A table of the DICOM headers; adds views.",
            required=False,
        ),
    ),
    image_folders=("images", "NLMCXR_png", "png", "."),  # the archive of images is flat
    tables={"studies": STUDIES, "images": IMAGES},
    read=read,
)
