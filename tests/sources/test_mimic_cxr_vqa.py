import json

import pytest

from instruct import synth
from instruct.errors import DataError
from instruct.sources import get_source
from instruct.synth.mimic_cxr_corpus import corpus

SOURCE = get_source("mimic_cxr_vqa")


def read(root):
    return SOURCE.tables_of(SOURCE.find(root), SOURCE.options())["questions"].to_pylist()


@pytest.fixture
def root(tmp_path):
    synth.write("mimic_cxr_vqa", tmp_path / "vqa", studies=30, images=False)
    return tmp_path / "vqa"


def change(root, number=1, file="train", **fields):
    path = root / "dataset" / f"{file}.json"
    records = json.loads(path.read_bytes())
    records[number].update(fields)
    path.write_text(json.dumps([{k: v for k, v in record.items() if v is not ...} for record in records], default=str))


def test_every_question_of_the_three_files(root):
    found = read(root)
    for file, split in (("train", "train"), ("valid", "val"), ("test", "test")):
        written = json.loads((root / "dataset" / f"{file}.json").read_bytes())
        here = [row for row in found if row["split"] == split]
        for number, (record, row) in enumerate(zip(written, here, strict=True), 1):
            assert row["question"] == record["question"]
            assert row["answers"] == record["answer"]
            assert row["image"] == record["image_path"]
            assert (row["study"], row["patient"]) == (f"s{record['study_id']}", f"p{record['subject_id']}")
            assert (row["idx"], row["origin"]) == (record["idx"], f"dataset/{file}.json:{number}")
    assert any(row["answers"] == [] for row in found)
    images = {picture.path for study in corpus(30) for picture in study.images}
    assert {row["image"] for row in found} <= images


def test_ids_are_texts_in_one_file_and_numbers_in_another(root):
    kinds = {
        file: {type(record["study_id"]) for record in json.loads((root / "dataset" / f"{file}.json").read_bytes())}
        for file in ("train", "valid")
    }
    assert kinds == {"train": {str}, "valid": {int}}


def test_a_path_below_files_is_the_same_image(root):
    before = read(root)
    change(root, image_path="files/" + before[1]["image"])
    assert read(root) == before


def test_the_three_files_alone_are_enough(root, tmp_path):
    before = read(root)
    (root / "dataset").rename(tmp_path / "MIMIC-CXR-VQA")
    found = read(tmp_path / "MIMIC-CXR-VQA")
    assert [row | {"origin": None} for row in found] == [row | {"origin": None} for row in before]
    assert found[0]["origin"] == "train.json:1"


def test_the_release_s_own_folder_is_found(root, tmp_path):
    (tmp_path / "download").mkdir()
    root.rename(tmp_path / "download" / "MIMIC-Ext-MIMIC-CXR-VQA")
    assert read(tmp_path / "download")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"answer": "yes"}, r"train.json: question 2 has answer 'yes'; expected a list of texts"),
        ({"answer": [1]}, r"question 2 has answer \[1\]"),
        ({"idx": "x"}, "question 2 has idx 'x'; expected a whole number"),
        ({"question": None}, "question 2 has question None; expected a text"),
        ({"study_id": "17"}, "train.json:2: study_id is '17'"),
        ({"answer": ...}, "question 2 has no field 'answer'; the files on GitHub hold no answers"),
    ],
)
def test_a_faulty_question_is_refused(root, fields, message):
    change(root, **fields)
    with pytest.raises(DataError, match=message):
        read(root)


def test_a_file_cut_off_is_refused(root):
    path = root / "dataset" / "test.json"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"test.json.*ends in the middle of a record"):
        read(root)


def test_missing_files_say_where_to_get_them(tmp_path):
    with pytest.raises(DataError, match=r"dataset/train.json or .*PhysioNet"):
        SOURCE.find(tmp_path)
