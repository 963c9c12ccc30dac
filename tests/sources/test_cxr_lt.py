import shutil

import pytest

from instruct import synth
from instruct.errors import DataError
from instruct.sources.cxr_lt import SOURCE
from instruct.synth.cxr_lt import CLASSES_2023, CLASSES_2024

from .mimic_cxr_files import read_rows, write_rows

STUDIES = 40


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("published") / "cxr_lt"
    synth.write("cxr_lt", root, studies=STUDIES, images=False)
    return root


@pytest.fixture
def root(published, tmp_path):
    return shutil.copytree(published, tmp_path / "cxr_lt")


def read(root):
    return SOURCE.tables_of(SOURCE.find(root), SOURCE.options())["images"]


def test_rows_are_those_of_the_train_table_of_2023(published):
    rows = read_rows(published / "cxr-lt-2023" / "train.csv")
    found = read(published).to_pylist()
    assert [row["dicom_id"] for row in found] == [row["dicom_id"] for row in rows]
    assert [row["row"] for row in found] == list(range(1, len(rows) + 1))
    for row, given in zip(found, rows, strict=True):
        assert row["patient"] == f"p{given['subject_id']}"
        assert row["study"] == (f"s{given['study_id'].removesuffix('.0')}" if given["study_id"] else None)
        assert row["classes"] == list(CLASSES_2023)
        assert row["labels"] == [name for name in CLASSES_2023 if given[name] == "1"]
    assert any(row["study"] is None for row in found)
    assert any(row["study"] for row in found)


def test_the_table_of_2024_stands_in_with_its_own_classes(root):
    old = read(root).to_pylist()
    shutil.rmtree(root / "cxr-lt-2023")
    found = read(root).to_pylist()
    assert found[0]["classes"] == list(CLASSES_2024)
    assert [row["dicom_id"] for row in found] == [row["dicom_id"] for row in old]
    normal = [row["labels"] == ["Normal"] for row in found]
    assert normal == [row["labels"] == ["No Finding"] for row in old]
    assert any(normal)
    assert found[0]["origin"] == "cxr-lt-2024/train_labeled.csv:1"


def test_columns_before_the_last_id_are_no_classes(root):
    wanted = read(root)
    rows = read_rows(root / "cxr-lt-2023" / "train.csv")
    write_rows(root / "cxr-lt-2023" / "train.csv", [{"AcquisitionDate": "21500101", **row} for row in rows])
    assert read(root).equals(wanted)


def test_classes_may_stand_before_the_ids(root):
    wanted = read(root)
    path = root / "cxr-lt-2023" / "train.csv"
    rows = read_rows(path)
    for last in (["subject_id", "study_id", "ViewPosition", "ViewCodeSequence_CodeMeaning"], ["Mass"]):
        write_rows(path, [{key: row[key] for key in sorted(row, key=last.__contains__)} for row in rows])
        moved = read(root)
        assert moved.drop(["classes", "labels"]).equals(wanted.drop(["classes", "labels"]))
        for name in ("classes", "labels"):
            assert [set(row) for row in moved[name].to_pylist()] == [set(row) for row in wanted[name].to_pylist()]


def test_the_labelled_table_goes_before_one_without_labels(root):
    wanted = read(root)
    folder = root / "cxr-lt-2023"
    rows = read_rows(folder / "train.csv")
    (folder / "train.csv").rename(folder / "train_labeled.csv")
    write_rows(folder / "train.csv", [{"dicom_id": row["dicom_id"]} for row in rows])
    assert read(root).drop(["origin"]).equals(wanted.drop(["origin"]))


def test_version_folder_and_gzip(root, tmp_path):
    wanted = read(root)
    rows = read_rows(root / "cxr-lt-2023" / "train.csv")
    (tmp_path / "again" / "1.1.0").mkdir(parents=True)
    write_rows(tmp_path / "again" / "1.1.0" / "train.csv.gz", rows)
    assert read(tmp_path / "again").drop(["origin"]) == wanted.drop(["origin"])


def test_somebody_elses_train_csv_is_not_taken_for_it(tmp_path):
    (tmp_path / "train.csv").write_text("Path,Sex\n")
    assert not SOURCE.present(tmp_path)
    with pytest.raises(
        DataError, match=r"train not found; expected cxr-lt-2023/train_labeled\.csv.*cxr-lt-2023/train\.csv.*physionet"
    ):
        SOURCE.find(tmp_path)


def spoil(column, value):
    def change(rows):
        rows[1][column] = value
        return rows

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoil("Hernia", "-1"), r"train\.csv:3: Hernia is -1.*expected 1 or 0"),
        (spoil("Edema", ""), r"train\.csv:3: Edema is .*expected 1 or 0"),
        (spoil("study_id", "seven"), r"train\.csv:3: study_id .*seven"),
        (spoil("dicom_id", ""), r"train\.csv:3: no dicom_id"),
        (lambda rows: [*rows, rows[0]], r"stands twice; expected one row for each image"),
        (lambda rows: [{k: v for k, v in row.items() if k != "Mass"} for row in rows], r"train\.csv:1: no column Mass"),
    ],
)
def test_faults_are_named_with_their_line(root, change, message):
    path = root / "cxr-lt-2023" / "train.csv"
    write_rows(path, change(read_rows(path)))
    with pytest.raises(DataError, match=message):
        read(root)
