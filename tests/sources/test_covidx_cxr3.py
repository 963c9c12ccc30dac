import pytest

from instruct.errors import DataError
from instruct.sources import get_source

SOURCE = get_source("covidx_cxr3")
TRAIN = """\
P-000101 P-000101-01-01-1901-NA-CHEST_AP-00001-1.000000-AP-00001-1-1.jpg positive stonybrook
9aaaaaaa-0003-4000-8000-000000000003 9aaaaaaa-0003-4000-8000-000000000003.png negative rnsa
418 1-s2.0-S0000000000000001-fig2b.png positive cohen
ANON900 CR.1.2.840.000000.1.2.png negative actmed
12 COVID(12).jpeg positive sirm
"""
TEST = "418 10.1016-j.000001.jpeg negative bimcv\n"


def read(root, train=TRAIN, test=TEST, names=("train.txt", "test.txt")):
    for name, text in zip(names, (train, test), strict=True):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return SOURCE.tables_of(SOURCE.find(root), SOURCE.options())["images"].to_pylist()


@pytest.mark.parametrize(
    "names", [("train.txt", "test.txt"), ("labels/train_COVIDx9B.txt", "labels/test_COVIDx9B.txt")]
)
def test_lists_are_read(tmp_path, names):
    rows = read(tmp_path, names=names)
    assert [row["study"] for row in rows] == [
        "P-000101-01-01-1901-NA-CHEST_AP-00001-1.000000-AP-00001-1-1",
        "9aaaaaaa-0003-4000-8000-000000000003",
        "1-s2.0-S0000000000000001-fig2b",
        "CR.1.2.840.000000.1.2",
        "COVID(12)",
        "10.1016-j.000001",
    ]
    assert [row["source"] for row in rows] == ["stonybrook", "rsna", "cohen", "actmed", "sirm", "bimcv"]
    # An id is a source's own: 418 of cohen and 418 of bimcv are two patients. RSNA's id names an image.
    assert [row["patient"] for row in rows][1:] == [None, "cohen/418", "actmed/ANON900", "sirm/12", "bimcv/418"]
    assert [row["namespace"] for row in rows] == ["covidx_cxr3", "rsna"] + ["covidx_cxr3"] * 4
    assert rows[4]["image"] == "train/COVID(12).jpeg"
    assert rows[5]["image"] == "test/10.1016-j.000001.jpeg"
    assert [row["split"] for row in rows] == ["train"] * 5 + ["test"]
    assert rows[3]["origin"] == f"{names[0]}:4"


def test_with_the_mapping_of_rsna_an_image_is_that_of_chestxray14(tmp_path):
    (tmp_path / "pneumonia-challenge-dataset-mappings_2018.json").write_text(
        '[{"subset_img_id": "9aaaaaaa-0003-4000-8000-000000000003", "img_id": "00000009_002.png"}]'
    )
    more = "9aaaaaaa-0004-4000-8000-000000000004 9aaaaaaa-0004-4000-8000-000000000004.png negative rsna\n"
    rows = read(tmp_path, TRAIN + more)
    assert [(row["namespace"], row["study"], row["patient"]) for row in rows if row["source"] == "rsna"] == [
        ("chestxray14", "00000009_002", "00000009"),
        ("rsna", "9aaaaaaa-0004-4000-8000-000000000004", None),
    ]
    assert rows[1]["image"] == "train/9aaaaaaa-0003-4000-8000-000000000003.png"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("positive cohen", "COVID-19 cohen", r"train.txt:3: .*COVID-19.*expected patient, file, positive or negative"),
        ("positive cohen", "positive", r"train.txt:3: Expected 4 columns, got 3"),
        ("1-s2.0-S", "1-s2 0-S", r"train.txt:3: Expected 4 columns, got 5"),
    ],
)
def test_faults_name_the_line(tmp_path, old, new, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, TRAIN.replace(old, new))


def test_missing_lists_say_where_to_get_them(tmp_path):
    (tmp_path / "train.txt").write_text(TRAIN)
    with pytest.raises(DataError, match=r"test not found; expected test.txt or .* version 9 is CXR-4"):
        SOURCE.find(tmp_path)
