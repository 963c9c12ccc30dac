from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from xml.sax.saxutils import escape

import pyarrow as pa
import pytest

from instruct.errors import DataError
from instruct.sources import Options, get_source
from tests.conftest import Corpora

OPENI = get_source("openi")
SECTIONS = {"COMPARISON": "None.", "INDICATION": "Cough", "FINDINGS": "Lungs are clear.", "IMPRESSION": "Normal chest."}


def report(number: int = 1, images: int = 1, uid: str | None = None, more: str = "", **sections: str) -> str:
    """A report in the published form."""
    texts = "".join(
        f'<AbstractText Label="{name}">{escape(text)}</AbstractText>\n' for name, text in (SECTIONS | sections).items()
    )
    shown = "".join(f'<parentImage id="CXR{number}_IM-0001-{1001 + index}"/>\n' for index in range(images))
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<eCitation>\n<uId id="{uid or f"CXR{number}"}"/>\n'
        f"<MedlineCitation><Article><Abstract>\n{texts}</Abstract></Article></MedlineCitation>\n"
        f"<MeSH><major>normal</major><automatic>Lung/clear</automatic></MeSH>\n{shown}{more}</eCitation>\n"
    )


def folder(root: Path, *reports: str) -> Path:
    """A source's folder with some reports, in files 1.xml, 2.xml, ..."""
    (root / "ecgen-radiology").mkdir()
    for number, text in enumerate(reports, 1):
        (root / "ecgen-radiology" / f"{number}.xml").write_text(text, "utf-8")
    return root


def archive(*reports: str) -> bytes:
    """The same as the published archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for number, text in enumerate(reports, 1):
            member = tarfile.TarInfo(f"ecgen-radiology/{number}.xml")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def tables(root: Path) -> dict[str, pa.Table]:
    return OPENI.tables_of(OPENI.find(root), Options())


def told(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        tables(root)
    assert str(caught.value).startswith(str(root))
    return str(caught.value).replace(f"{root}/", "")


def test_a_report_becomes_a_row(tmp_path):
    (row,) = tables(folder(tmp_path, report(17, images=2)))["studies"].to_pylist()
    assert row == {
        "study": "CXR17", "number": 17, "split": "test", "patient": "CXR17", "comparison": "None.",
        "indication": "Cough", "findings": "Lungs are clear.", "impression": "Normal chest.",
        "images": ["CXR17_IM-0001-1001.png", "CXR17_IM-0001-1002.png"], "mesh_major": ["normal"],
        "mesh_automatic": ["Lung/clear"], "origin": "ecgen-radiology/1.xml",
    }  # fmt: skip


def test_sections_can_be_empty_blank_mixed_or_escaped(tmp_path):
    text = report(1, FINDINGS="  \n ", IMPRESSION="a < b & c").replace(
        "Cough", "XXXX-year-old <!-- no --> with <i>cough</i>\n "
    )
    (row,) = tables(folder(tmp_path, text.replace(escape("Cough"), "Cough")))["studies"].to_pylist()
    assert (row["findings"], row["impression"]) == (None, "a < b & c")
    assert row["indication"] == "XXXX-year-old  with cough"
    (bare,) = tables(folder(Path(tmp_path / "ecgen-radiology"), report(2).replace("Lungs are clear.", "")))[
        "studies"
    ].to_pylist()
    assert bare["findings"] is None


def test_reports_are_ordered_by_number_and_images_keep_their_order(tmp_path):
    found = tables(folder(tmp_path, report(10, images=0), report(9, images=3), report(100)))
    assert found["studies"]["study"].to_pylist() == ["CXR9", "CXR10", "CXR100"]
    assert found["images"].to_pylist() == [
        {
            "image": f"CXR{number}_IM-0001-{1000 + position}.png",
            "study": f"CXR{number}",
            "position": position,
            "view": None,
        }
        for number, position in ((9, 1), (9, 2), (9, 3), (100, 1))
    ]


def test_views_come_from_the_table_of_dicom_headers(tmp_path):
    rows = "imageid,Rows,View Position\nCXR1_IM-0001-1001,512,PA\nCXR1_IM-0001-1002,512,\nCXR5_IM-1,512,AP\n"
    folder(tmp_path, report(1, images=3))
    (tmp_path / "nlmcxr_dicom_metadata.csv.gz").write_bytes(gzip.compress(rows.encode()))
    assert tables(tmp_path)["images"]["view"].to_pylist() == ["PA", None, None]


def test_the_archive_gives_what_the_folder_gives(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "archive").mkdir()
    reports = [report(number, images=number % 4) for number in (3, 1, 12)]
    folder(tmp_path / "folder", *reports)
    (tmp_path / "archive" / "NLMCXR_reports.tgz").write_bytes(archive(*reports))
    unpacked, packed = tables(tmp_path / "folder"), tables(tmp_path / "archive")
    assert packed["images"].equals(unpacked["images"])
    assert packed["studies"].drop_columns("origin").equals(unpacked["studies"].drop_columns("origin"))
    assert packed["studies"]["origin"][0].as_py() == "NLMCXR_reports.tgz/ecgen-radiology/2.xml"


def test_a_missing_folder_is_told_with_where_to_get_it(tmp_path):
    assert told(tmp_path) == (
        f"{tmp_path}: reports not found; expected ecgen-radiology/*.xml or NLMCXR_reports/ecgen-radiology/*.xml or"
        " NLMCXR_reports.tgz. Download NLMCXR_reports.tgz (open access) from https://openi.nlm.nih.gov/faq."
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "2.xml:1: malformed XML (Document is empty"),
        (report(2)[:300], "2.xml:8: malformed XML ("),
        ("<eCitation><uId id='CXR2'/>&x;</eCitation>", "2.xml:1: malformed XML (Entity 'x' not defined"),
        ("{}", "2.xml:1: malformed XML (Start tag expected"),
        ("<html/>", "2.xml:1: not an OpenI report; expected <eCitation> with <uId id='CXR<number>'>"),
        (report(2, uid="CXRx"), "2.xml:1: not an OpenI report"),
        (report(2, uid="CXR99999999999"), "2.xml:1: not an OpenI report"),
        (
            "<eCitation><uId id='CXR2'/></eCitation>",
            "2.xml:1: report CXR2 has no section COMPARISON, INDICATION, FINDINGS, ",
        ),
        (
            report(2).replace("FINDINGS", "Findings"),
            "2.xml:1: report CXR2 has no section FINDINGS; expected COMPARISON, ",
        ),
        (report(2).replace("COMPARISON", "FINDINGS"), "2.xml:7: report CXR2 has the section FINDINGS twice"),
        (report(2, more="<parentImage/>"), "2.xml:1: report CXR2 has a parentImage without an id"),
        (report(1), "2.xml: report CXR1 stands also in ecgen-radiology/1.xml"),
    ],
)
def test_a_report_that_is_not_as_published_is_named(tmp_path, text, message):
    assert told(folder(tmp_path, report(1), text)).startswith(f"ecgen-radiology/{message}")


def test_external_entities_are_not_read(tmp_path):
    (tmp_path / "secret.txt").write_text("topsecret")
    head = f'<!DOCTYPE eCitation [<!ENTITY x SYSTEM "file://{tmp_path}/secret.txt">]>\n<eCitation>'
    found = tables(folder(tmp_path, report(1).replace("<eCitation>", head).replace("Cough", "&x;")))[
        "studies"
    ].to_pylist()
    assert "topsecret" not in str(found)


@pytest.mark.parametrize("damage", ["cut", "cut in its check sum", "one byte", "check sum", "no archive"])
def test_an_archive_that_is_damaged_is_told(tmp_path, damage):
    whole = archive(*(report(number, FINDINGS=f"{number**9} is clear.") for number in range(1, 80)))
    middle = len(whole) // 2
    (tmp_path / "NLMCXR_reports.tgz").write_bytes(
        {
            "cut": whole[:middle],
            "cut in its check sum": whole[:-6],
            "one byte": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
            "check sum": whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:],
            "no archive": b"<html>not found</html>" * 100,
        }[damage]
    )
    message = told(tmp_path)
    assert message.startswith("NLMCXR_reports.tgz")
    assert message.endswith("get it again") or "get it again" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"image,view\na,PA\n"), "nlmcxr_dicom_metadata.csv.gz:1: no column imageid, View Position"),
        (gzip.compress(b"imageid,View Position\n" + b"a,PA\n" * 9999)[:40], "nlmcxr_dicom_metadata.csv.gz"),
        (b"imageid,View Position\n", "nlmcxr_dicom_metadata.csv.gz:1: cannot be read: Not a gzipped file"),
        (gzip.compress(b""), "nlmcxr_dicom_metadata.csv.gz:1: expected the names of columns, found nothing"),
    ],
    ids=["columns", "cut", "not compressed", "empty"],
)
def test_a_table_of_dicom_headers_that_is_damaged_is_told(tmp_path, content, message):
    folder(tmp_path, report(1))
    (tmp_path / "nlmcxr_dicom_metadata.csv.gz").write_bytes(content)
    assert told(tmp_path).startswith(message)


def test_the_synthetic_corpus_reads_as_it_was_planted(corpora: Corpora):
    found, planted = tables(corpora.root / "openi"), corpora.planted["openi"]
    facts = planted.splits["test"]
    studies = found["studies"].to_pylist()
    assert (len(studies), found["images"].num_rows) == (facts.studies, facts.images)
    for section in ("comparison", "indication", "findings", "impression"):
        assert sum(row[section] is not None for row in studies) == facts.texts[section]
    assert sum(not row["images"] for row in studies) == planted.distractors["reports_without_image"]
    assert all((corpora.root / "openi" / "images" / name).is_file() for row in studies for name in row["images"])


def test_the_real_files(shared_data: Path):
    found = tables(shared_data / "openi")
    studies = found["studies"].to_pylist()
    assert len(studies) == 3955
    assert found["images"].num_rows == 7470
    numbers = [len(row["images"]) for row in studies]
    assert [numbers.count(count) for count in range(6)] == [104, 446, 3208, 181, 15, 1]
    assert sum(len(row["mesh_major"]) for row in studies) == 8298
    assert sum(len(row["mesh_automatic"]) for row in studies) == 7047
    assert sum(bool(row["findings"] and row["impression"]) for row in studies) == 3419
    views = found["images"]["view"].to_pylist()
    assert 0.5 < sum(view is not None for view in views) / len(views) < 0.8


def test_images_can_lie_where_the_flat_archive_was_unpacked(tmp_path):
    root = folder(tmp_path, report(17))
    assert OPENI.image_folder(root) == root
    (root / "NLMCXR_png").mkdir()
    assert OPENI.image_folder(root) == root / "NLMCXR_png"
