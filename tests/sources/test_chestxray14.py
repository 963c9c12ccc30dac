import re

import pytest

from instruct.errors import DataError
from instruct.sources import get_source
from instruct.synth import chestxray14
from instruct.synth.chestxray14_plan import plan_corpus

SOURCE = get_source("chestxray14")
ENTRIES = "Data_Entry_2017_v2020.csv"


def read(root, **options):
    return SOURCE.tables_of(SOURCE.find(root), SOURCE.options(**options))


@pytest.mark.parametrize(("edition", "studies"), [("v2020", 20), ("2017", 90)])
def test_what_is_read_is_what_was_written(tmp_path, edition, studies):
    chestxray14.write(tmp_path, studies=studies, edition=edition, images=False)
    plan = plan_corpus(0, studies)
    rows = read(tmp_path)["images"].to_pylist()
    assert [row["image"] for row in rows] == plan.names
    assert [row["study"] + ".png" for row in rows] == plan.names
    assert [row["labels"] for row in rows] == plan.labels
    assert [row["split"] for row in rows] == plan.splits
    assert [int(row["patient"]) for row in rows] == plan.patients.tolist()
    assert [row["follow_up"] for row in rows] == plan.follow_ups.tolist()
    assert [row["view"] == "AP" for row in rows] == plan.portable
    ages = plan.ages.tolist()
    assert [row["age"] for row in rows] == (ages if edition == "v2020" else [*ages[:-1], None])
    assert {(row["height"], row["width"]) for row in rows} == {(1024, 1024)}
    assert rows[4]["origin"] == f"{chestxray14.ENTRIES[edition]}:6"


def test_splits_share_no_patient_and_val_holds_a_tenth(tmp_path):
    chestxray14.write(tmp_path, studies=1500, images=False)
    rows = read(tmp_path)["images"].to_pylist()
    patients = {split: {row["patient"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}
    assert not patients["train"] & patients["val"]
    assert not (patients["train"] | patients["val"]) & patients["test"]
    assert sum(row["split"] == "val" for row in rows) == 150
    listed = (tmp_path / "test_list.txt").read_text().split()
    assert sorted(listed) == [row["image"] for row in rows if row["split"] == "test"]


def test_boxes_are_shares_of_the_image(tmp_path):
    planted = chestxray14.write(tmp_path, studies=200, images=False)
    plan = plan_corpus(0, 200)
    rows = read(tmp_path)["boxes"].to_pylist()
    assert len(rows) == planted.distractors["boxes"] >= 8
    wanted = [(plan.names[k], label, box) for k in sorted(plan.boxed) for label, box in plan.boxes(k)]
    for row, (name, label, box) in zip(rows, wanted, strict=True):
        assert (row["image"], row["label"]) == (name, label)
        assert row["box"] == pytest.approx(box)
    assert "Infiltration" in {row["label"] for row in rows}
    (tmp_path / "BBox_List_2017.csv").unlink()
    assert len(read(tmp_path)["boxes"]) == 0


def test_ages_of_the_first_edition_have_units(tmp_path):
    chestxray14.write(tmp_path, studies=20, images=False)
    path = tmp_path / ENTRIES
    lines = path.read_text().splitlines(keepends=True)
    for number, age in ((1, "058Y"), (2, "011M"), (3, "013D")):
        cells = lines[number].split(",")
        lines[number] = ",".join([*cells[:4], age, *cells[5:]])
    path.write_text("".join(lines))
    assert read(tmp_path)["images"]["age"].to_pylist()[:3] == [58, 0, 0]


def faulty(root, old, new, file=ENTRIES, line=3):
    chestxray14.write(root, studies=20, images=False)
    lines = (root / file).read_text().splitlines(keepends=True)
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    (root / file).write_text("".join(lines))
    with pytest.raises(DataError) as error:
        read(root)
    return str(error.value)


def test_faults_name_the_line(tmp_path):
    plan = plan_corpus(0, 20)
    name, label = plan.names[1], "|".join(plan.labels[1]) or "No Finding"
    cases = {
        (name, "1.png"): "Data_Entry_2017_v2020.csv:3: image 1.png is no file name",
        (name, name.replace("_", "-")): "Data_Entry_2017_v2020.csv:3",
        (f",{label},", ",Measles,"): "Data_Entry_2017_v2020.csv:3: image .* has the finding 'Measles'",
        (f",{label},", ",No Finding|Mass,"): "a finding at once",
        (f",{plan.patients[1]},", ",77,"): "has another patient in its name",
        (f",{plan.patients[1]},", ",x,"): "Data_Entry_2017_v2020.csv:3: .*'x'",
        (f",{label},", ","): "Data_Entry_2017_v2020.csv:3: Expected 11 columns",
        (name, plan.names[0]): "stands twice|is not in|another patient",
    }
    for number, ((old, new), message) in enumerate(cases.items()):
        assert re.search(message, faulty(tmp_path / str(number), old, new)), (old, new)


def test_splits_must_hold_every_image_once(tmp_path):
    chestxray14.write(tmp_path, studies=20, images=False)
    train, test = tmp_path / "train_val_list.txt", tmp_path / "test_list.txt"
    first, rest = train.read_text().split("\n", 1)
    train.write_text(rest)
    with pytest.raises(DataError, match=f"image {first} is not in train_val_list.txt or test_list.txt"):
        read(tmp_path)
    train.write_text(f"{first}\n{rest}")
    test.write_text(test.read_text() + first + "\n")
    with pytest.raises(DataError, match=f"image {first} stands both in train_val_list.txt and in test_list.txt"):
        read(tmp_path)
    test.unlink()
    with pytest.raises(DataError, match=r"no split: expected train_val_list.txt and test_list.txt. Download"):
        read(tmp_path)


def test_missing_table_says_where_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"entries not found; expected Data_Entry_2017_v2020.csv or .*Download it"):
        SOURCE.find(tmp_path)
