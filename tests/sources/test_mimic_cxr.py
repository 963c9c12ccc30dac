import shutil
import zipfile
from datetime import date
from pathlib import Path

import pytest

from instruct import synth
from instruct.errors import DataError
from instruct.sources.mimic_cxr import SOURCE, MimicCxrOptions
from instruct.sources.mimic_cxr_reports import section_kind, split_report
from instruct.synth.mimic_cxr import corpus

from .mimic_cxr_files import read_rows, write_rows

METADATA, SPLIT = "mimic-cxr-2.0.0-metadata.csv.gz", "mimic-cxr-2.0.0-split.csv.gz"
CHEXPERT, SECTIONED = "mimic-cxr-2.0.0-chexpert.csv.gz", "mimic_cxr_sectioned.csv"
REPORTS = "mimic-cxr-reports.zip"
STUDIES = 90


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("published") / "mimic_cxr"
    synth.write("mimic_cxr", root, studies=STUDIES, images=False)
    return root


@pytest.fixture
def root(published, tmp_path):
    """A copy of the corpus to spoil."""
    return shutil.copytree(published, tmp_path / "mimic_cxr")


def read(root, **options):
    return SOURCE.tables_of(SOURCE.find(root), MimicCxrOptions(**options))


def by_study(tables):
    return {row["study"]: row for row in tables["studies"].to_pylist()}


def edit(path, change):
    rows = read_rows(path)
    write_rows(path, change(rows) or rows)


@pytest.mark.parametrize("sections", ["auto", "csv", "reports"])
def test_studies_are_those_that_were_written(published, sections):
    found = by_study(read(published, sections=sections))
    written = corpus(STUDIES)
    assert len(found) == len(written) == STUDIES
    for study in written:
        row = found[study.study]
        assert row["patient"] == study.patient
        assert row["split"] == {"train": "train", "validate": "val", "test": "test"}[study.split]
        assert row["images"] == [picture.path for picture in study.images]
        labels = row["labels"]
        assert (labels if labels is None else {entry["label"]: entry["value"] for entry in labels}) == study.labels
        told = {
            name: getattr(study.sections, name) for name in ("findings", "impression", "last_paragraph", "comparison")
        }
        if sections != "reports" and not study.sectioned:
            told = dict.fromkeys(told)
        assert {name: row[name] for name in told} == told, study.report
        assert row["indication"] == study.sections.indication, study.report
        assert row["date"] == date.fromisoformat(f"{study.date[:4]}-{study.date[4:6]}-{study.date[6:]}")
    assert sum(row["labels"] is None for row in found.values()) >= 5


def test_prior_is_the_study_before_in_time(published):
    import duckdb

    tables = read(published)
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA mimic_cxr")
    connection.register("held", tables["studies"])
    connection.execute("CREATE TABLE mimic_cxr.studies AS SELECT * FROM held")
    rows = connection.sql(SOURCE.views["studies_with_prior"].sql).to_arrow_table().to_pylist()
    written = corpus(STUDIES)
    expected = {study.study: None if study.prior is None else written[study.prior].study for study in written}
    assert {row["study"]: row["prior"] and row["prior"]["study"] for row in rows} == expected
    assert sum(prior is not None for prior in expected.values()) > 30


def test_time_has_no_leading_zeros_and_blank_view_comes_last(root):
    def change(rows):
        study = [row for row in rows if row["study_id"] == rows[0]["study_id"]]
        template = {**study[0], "StudyTime": "4512.0"}
        views = ["", "LATERAL", "SWIMMERS", "AP", "PA LLD", "ap", "ODD"]
        return [{**template, "ViewPosition": view, "dicom_id": f"{9 - k}-a"} for k, view in enumerate(views)]

    edit(root / METADATA, change)
    edit(root / SPLIT, lambda rows: [{**rows[0], "dicom_id": f"{9 - k}-a"} for k in range(7)])
    tables = read(root)
    images = tables["images"].to_pylist()
    assert {row["time"] for row in images} == {45 * 60 + 12.0}
    assert [(row["view"], row["position"]) for row in images] == [
        ("AP", 1), ("AP", 2), ("LATERAL", 3), ("PA LLD", 4), ("SWIMMERS", 5), ("ODD", 6), (None, 7),
    ]  # fmt: skip
    assert [row["dicom_id"] for row in images[:2]] == ["4-a", "6-a"]  # ties by name
    (study,) = tables["studies"].to_pylist()
    assert study["images"] == [row["image"] for row in images]
    assert study["frontal_image"] == images[0]["image"]
    assert study["lateral_image"] == images[2]["image"]


def test_other_layouts_read_the_same(root, tmp_path):
    wanted = read(root)
    jpg, text = tmp_path / "all" / "mimic-cxr-jpg" / "2.1.0", tmp_path / "all" / "mimic-cxr" / "2.1.0"
    jpg.mkdir(parents=True)
    text.mkdir(parents=True)
    for name in (METADATA, SPLIT, CHEXPERT):
        write_rows(jpg / name.removesuffix(".gz"), read_rows(root / name))
    shutil.move(root / SECTIONED, text)
    with zipfile.ZipFile(root / REPORTS) as archive:
        archive.extractall(text)
    found = read(tmp_path / "all")
    for name in ("images", "studies"):
        assert found[name].drop(["origin"]) == wanted[name].drop(["origin"])


def test_images_lie_beside_the_metadata(root, tmp_path):
    assert SOURCE.image_folder(root) == root / "files"
    jpg = tmp_path / "all" / "mimic-cxr-jpg" / "2.1.0"
    assert SOURCE.image_folder(tmp_path / "all") == tmp_path / "all" / "files"
    jpg.mkdir(parents=True)
    write_rows(jpg / METADATA, read_rows(root / METADATA))
    assert SOURCE.image_folder(tmp_path / "all") == jpg / "files"
    (tmp_path / "all" / "files" / "p10").mkdir(parents=True)
    (jpg / "files").mkdir()  # as it is where the reports were unpacked into the data folder
    assert SOURCE.image_folder(tmp_path / "all") == jpg / "files"


def test_reports_stand_in_for_the_sectioned_file(root):
    (root / SECTIONED).unlink()
    assert read(root)["studies"] == read(root, sections="reports")["studies"]
    with pytest.raises(DataError, match=r"mimic_cxr_sectioned\.csv.*create_section_files"):
        read(root, sections="csv")


def test_an_indication_of_the_sectioned_file_is_taken(root):
    edit(root / SECTIONED, lambda rows: [{**row, "indication": "Cough.\n Fever."} for row in rows])
    (root / REPORTS).unlink()
    assert set(read(root)["studies"]["indication"].to_pylist()) == {"Cough. Fever.", None}


def test_a_sectioned_file_without_rows_gives_no_texts(root):
    path = root / SECTIONED
    path.write_text(path.read_text("utf-8").splitlines()[0] + "\n", "utf-8")
    studies = read(root)["studies"]
    assert studies["findings"].null_count == len(studies) == STUDIES
    assert studies["indication"].null_count < STUDIES


def test_the_last_of_two_reports_of_a_study_counts(root):
    (root / SECTIONED).unlink()
    with zipfile.ZipFile(root / REPORTS, "a") as archive:
        name = next(name for name in archive.namelist() if name.endswith(".txt"))
        archive.writestr(f"more/{name}", "FINAL REPORT\n FINDINGS: A late word.\n")
    study = f"s{Path(name).stem.removeprefix('s')}"
    found = {row["study"]: row["findings"] for row in read(root)["studies"].to_pylist()}
    assert found[study] == "A late word."


def test_missing_reports_are_not_passed_over_in_silence(root):
    (root / REPORTS).unlink()
    with pytest.raises(DataError, match=r"reports not found; expected mimic-cxr-reports\.zip.*physionet.*options"):
        read(root)
    assert set(read(root, sections="csv")["studies"]["indication"].to_pylist()) == {None}
    (root / SECTIONED).unlink()
    nothing = read(root, sections="none")["studies"]
    assert nothing["findings"].null_count == len(nothing) == STUDIES


def test_missing_tables_are_named(root):
    (root / SPLIT).unlink()
    (root / CHEXPERT).unlink()
    with pytest.raises(DataError) as error:
        SOURCE.find(root)
    assert "split not found; expected mimic-cxr-2.0.0-split.csv.gz" in str(error.value)
    assert "chexpert not found" in str(error.value)
    assert "https://physionet.org/content/mimic-cxr-jpg/" in str(error.value)


def spoil(column, value, row=1):
    def change(rows):
        rows[row][column] = value

    return change


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (METADATA, spoil("StudyTime", "246012.0"), r"metadata\.csv\.gz:3: StudyTime 246012.*HHMMSS"),
        (METADATA, spoil("StudyDate", "2180-05-06"), r"metadata\.csv\.gz:3: StudyDate 2180-05-06; expected YYYYMMDD"),
        (METADATA, spoil("study_id", "5x"), r"metadata\.csv\.gz:3: study_id .*5x"),
        (METADATA, spoil("dicom_id", ""), r"metadata\.csv\.gz:3: no dicom_id"),
        (METADATA, spoil("dicom_id", "unheard-of"), r"metadata\.csv\.gz:3: image unheard-of has no row in mimic-cxr-2"),
        (METADATA, lambda rows: [*rows, rows[0]], r"stands twice; expected one row for each image"),
        (METADATA, lambda rows: [{k: v for k, v in row.items() if k != "Rows"} for row in rows], r":1: no column Rows"),
        (SPLIT, spoil("split", "val"), r"split\.csv\.gz:3: split val; expected train, validate, test"),
        (CHEXPERT, spoil("Edema", "2.0"), r"chexpert\.csv\.gz:3: Edema is 2.*expected 1, 0, -1 or blank"),
        (CHEXPERT, lambda rows: [*rows, rows[0]], r"study s\d{8} stands twice"),
        (SECTIONED, lambda rows: [*rows, rows[0]], r"mimic_cxr_sectioned\.csv: study s\d{8} stands twice"),
    ],
)
def test_faults_are_named_with_their_line(root, name, change, message):
    edit(root / name, change)
    with pytest.raises(DataError, match=message):
        read(root)


def test_a_study_keeps_to_one_patient_and_one_split(root):
    several = next(study for study in corpus(STUDIES) if len(study.images) > 1)
    dicom = several.images[0].dicom_id

    def other(column, value):
        def change(rows):
            next(row for row in rows if row["dicom_id"] == dicom)[column] = value

        return change

    kept = (root / SPLIT).read_bytes()
    edit(root / SPLIT, other("split", "test" if several.split != "test" else "train"))
    with pytest.raises(DataError, match=f"study {several.study} has images in several splits"):
        read(root)
    (root / SPLIT).write_bytes(kept)
    edit(root / METADATA, other("subject_id", "19999999"))
    with pytest.raises(DataError, match=f"study {several.study} has several patients, .*p19999999"):
        read(root)


def test_a_cut_off_archive_is_named(root):
    content = (root / REPORTS).read_bytes()
    (root / REPORTS).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"mimic-cxr-reports\.zip: the archive cannot be read to its end"):
        read(root)


REPORT = """                                 FINAL ADDENDUM
 ADDENDUM:  A line was called a tube.

 IMPRESSION:  Of the addendum.
 ______________________________________________________________________________
                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 HISTORY:  ___F with a cough.

 INDICATION:   Evaluate for
 pneumonia.

 COMPARISON:  ___

 FINDINGS:

 LINES AND TUBES: None seen. Note: the film is
 rotated.

 Heart is normal.
 IMPRESSION:
 No pneumonia.

 RECOMMENDATION(S):  Repeat in a week.
"""


def test_sections_of_a_report():
    assert split_report(REPORT) == {
        "indication": "Evaluate for pneumonia.",
        "findings": "LINES AND TUBES: None seen. Note: the film is rotated. Heart is normal.",
        "impression": "No pneumonia.",
    }


def test_history_stands_in_for_the_indication():
    assert split_report(REPORT.replace("INDICATION:", "INDICATION:  ___\n\n TECHNIQUE:"))["indication"] == (
        "___F with a cough."
    )


def test_last_paragraph_is_for_reports_without_findings_and_impression():
    bare = " FINAL REPORT\n INDICATION:  Cough.\n \n Rotated film.\n \n No pneumonia.\n"
    assert split_report(bare) == {"indication": "Cough.", "last_paragraph": "Rotated film. No pneumonia."}
    assert split_report(f"{bare} IMPRESSION:\n \n") == split_report(bare)
    assert split_report("No heading at all.\n \n Second paragraph.") == {"last_paragraph": "Second paragraph."}
    assert split_report("") == {}


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("FINDINGS", "findings"), ("FINIDNGS", "findings"), ("FINDING", "findings"), ("CHEST, TWO VIEWS", "findings"),
        ("PORTABLE AP CHEST", "findings"), ("IMPRESSOIN", "impression"), ("FINDINGS AND IMPRESSION", "impression"),
        ("FINDINGS/IMPRESSION", "impression"), ("CONCLUSION", "impression"), ("REASON FOR EXAMINATION", "indication"),
        ("CLINICAL INDICATION", "indication"), ("NDICATION", "indication"), ("CLINICAL INFORMATION", "history"),
        ("PATIENT HISTORY", "history"), ("COMPARISONS", "comparison"), ("COMPARISION", "comparison"),
        ("REFERENCE EXAM", "comparison"), ("EXAMINATION", "other"), ("EXAM", "other"), ("TECHNIQUE", "other"),
        ("WET READ", "other"), ("NOTIFICATION", "other"), ("MEDICATION", None), ("LINES AND TUBES", None),
    ],
)  # fmt: skip
def test_headings(heading, kind):
    assert section_kind(heading) == kind
