import pytest

from instruct.errors import DataError
from instruct.sources import get_source
from instruct.synth import chexpert
from instruct.synth.chexpert_plan import LABELS, plan_corpus

SOURCE = get_source("chexpert")


def read(root):
    return SOURCE.tables_of(SOURCE.find(root), SOURCE.options())


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    root = tmp_path_factory.mktemp("chexpert")
    chexpert.write(root, studies=150, images=False)
    return read(root)


@pytest.fixture(scope="module")
def written():
    return {study.name: study for study in plan_corpus(0, 150)}


def test_studies_are_those_written(tables, written):
    rows = tables["studies"].to_pylist()
    assert {row["study"] for row in rows} == set(written)
    numbers = {}
    for row in rows:
        study = written[row["study"]]
        assert (row["patient"], row["number"], row["split"]) == (study.patient, study.number, study.split)
        assert [item["label"] for item in row["labels"]] == list(LABELS)
        assert [item["value"] for item in row["labels"]] == [study.values[label] for label in LABELS]
        told = study.reported
        assert row["findings"] == (study.findings if told else None)
        assert row["impression"] == (study.impression if told else None)
        assert row["indication"] == (study.history if told else None)
        assert (row["report_origin"] is not None) == told
        numbers.setdefault((row["split"], row["patient"]), []).append(row["number"])
    # In the order of numbers, not of texts: study10 comes after study9.
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
    assert max(map(len, numbers.values())) >= 10


def test_images_are_those_written(tables, written):
    rows = tables["images"].to_pylist()
    assert len(rows) == sum(len(study.pictures) for study in written.values())
    places = {}
    for row in rows:
        study = written[row["study"]]
        (picture,) = [picture for picture in study.pictures if row["image"].endswith("/" + picture.name)]
        assert row["image"] == row["file"] == f"{chexpert.FOLDERS[study.split]}/{study.name}/{picture.name}"
        assert row["projection"] == picture.projection
        if study.split == "test":
            assert (row["view"], row["sex"], row["age"]) == (None, None, None)
        else:
            assert row["view"] == (picture.view or None)
            assert row["age"] == (study.age or None)
            assert row["sex"] == (None if study.sex == "Unknown" else study.sex)
        places.setdefault(row["study"], []).append(row["position"])
    assert all(found == list(range(1, len(found) + 1)) for found in places.values())
    assert sum(row["age"] is None and row["split"] != "test" for row in rows) >= 1


def test_lines_of_reports_are_joined(tmp_path):
    chexpert.write(tmp_path, studies=150, images=False)
    raw = (tmp_path / chexpert.PLUS / chexpert.PLUS_TABLE).read_text()
    assert ".\n" in raw
    for name in ("findings", "impression", "indication"):
        texts = [text for text in read(tmp_path)["studies"][name].to_pylist() if text]
        assert texts and not any("\n" in text or "  " in text for text in texts)


def test_prefixes_and_editions(tmp_path):
    chexpert.write(tmp_path, studies=20, images=False)
    wanted = read(tmp_path)
    (tmp_path / chexpert.EDITION).rename(tmp_path / "CheXpert-v1.0")
    for name, prefix in (("train.csv", "CheXpert-v1.0/"), ("valid.csv", ""), ("test.csv", "some/where/")):
        path = tmp_path / "CheXpert-v1.0" / name
        text = path.read_text().replace(f"{chexpert.EDITION}/", prefix)
        path.write_text(text if name != "test.csv" else text.replace("test/", prefix + "test/"))
    found = read(tmp_path)
    assert found["images"].drop_columns("origin") == wanted["images"].drop_columns("origin")
    # The folder of an edition alone, as the source's root.
    inside = read(tmp_path / "CheXpert-v1.0")
    assert inside["images"]["image"] == wanted["images"]["image"]
    assert inside["studies"]["findings"].null_count == len(inside["studies"])


def test_test_images_beside_the_edition_must_be_linked_into_it(tmp_path):
    """The test set is a download of its own, and image paths are below one folder."""
    chexpert.write(tmp_path, studies=20)
    wanted = read(tmp_path)
    edition = tmp_path / chexpert.EDITION
    (edition / "test").rename(tmp_path / "test")
    (edition / "test.csv").rename(tmp_path / "test.csv")
    with pytest.raises(DataError, match=rf"{tmp_path}/test: the test images .* ln -s ../test {edition}/test"):
        read(tmp_path)
    (edition / "test").symlink_to("../test")
    found = read(tmp_path)
    assert found["images"].drop_columns("origin") == wanted["images"].drop_columns("origin")
    assert all((SOURCE.image_folder(tmp_path) / name).is_file() for name in found["images"]["file"].to_pylist())


def test_tables_of_chexpert_with_the_images_of_chexpert_plus(tmp_path):
    chexpert.write(tmp_path, studies=20, images=False)
    assert {name[-4:] for name in read(tmp_path)["images"]["file"].to_pylist()} == {".jpg"}
    (tmp_path / chexpert.PLUS / "PNG" / "train").mkdir(parents=True)
    assert SOURCE.image_folder(tmp_path) == tmp_path / chexpert.PLUS / "PNG"
    assert {name[-4:] for name in read(tmp_path)["images"]["file"].to_pylist()} == {".png"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("/study1/", "/first/", r"train.csv:2: Path is .*/first/.*; expected a path that ends like train/patient00001"),
        ("train/", "trial/", r"train.csv:2: Path is"),
        ("view1_frontal.jpg", "view1.jpg", r"train.csv:2: Path is"),
        ("patient0", "person0", r"train.csv:2: Path is"),
        ("Frontal", "Frontal,", r"train.csv:2: .*Expected 19 columns"),
        (",1.0", ",0.7", r"train.csv:2: .* is 0.7; expected 1, 0, -1 or blank"),
    ],
)
def test_faults_name_the_line(tmp_path, old, new, message):
    chexpert.write(tmp_path, studies=20, images=False)
    path = tmp_path / chexpert.EDITION / "train.csv"
    header, first, rest = path.read_text().split("\n", 2)
    assert old in first
    path.write_text("\n".join([header, first.replace(old, new, 1), rest]))
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_missing_files_say_where_to_get_them(tmp_path):
    with pytest.raises(DataError, match=r"tables not found; expected CheXpert-v1.0/train.csv or .* Stanford AIMI"):
        SOURCE.find(tmp_path)
    chexpert.write(tmp_path, studies=20, images=False)
    (tmp_path / chexpert.EDITION / "valid.csv").unlink()
    with pytest.raises(DataError, match=r"train.csv: there is no valid.csv beside it. .* Stanford AIMI"):
        read(tmp_path)
