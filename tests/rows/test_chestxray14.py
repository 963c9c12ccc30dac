import numpy as np
import pyarrow as pa
import pytest

from instruct import synth
from instruct.sources import get_source
from instruct.synth import chestxray14

from .checks import assert_as_planted, assert_expected_of_real_files, build, corpus, read, records

SOURCE, TASK = "chestxray14", "Image Classification"


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (75, 4)])
def test_counts_are_the_planted_ones_and_no_split_is_empty(tmp_path, studies, seed):
    planted = synth.write(SOURCE, tmp_path / "data" / SOURCE, studies=studies, seed=seed)
    assert_as_planted(build(tmp_path, SOURCE), planted)
    assert all(counts.examples for counts in planted.counts[f"[{TASK}] [ChestXray14]"].values())


def test_the_twelve_archives_may_lie_in_a_folder_each(tmp_path):
    planted = chestxray14.write(tmp_path / "data" / SOURCE, studies=24, flat=False)
    assert not (tmp_path / "data" / SOURCE / "images").exists()
    assert_as_planted(build(tmp_path, SOURCE), planted)


def test_answers_are_the_findings_or_no_finding(tmp_path):
    _, tables = corpus(tmp_path, SOURCE, 120)
    labels = dict(zip(tables["images"]["study"].to_pylist(), tables["images"]["labels"].to_pylist(), strict=True))
    found = records(tables, SOURCE, TASK)
    assert len(found) == 120
    for study, row in found.items():
        assert row["studies"] == [study]
        assert row["patient"] == study[:8]
        assert row["images"] == [f"{study}.png"]
        assert len(row["options"]) == len(set(row["options"])) == 15
        assert set(row["answers"]) <= set(row["options"])
        assert row["answers"] == ([label.replace("_", " ") for label in labels[study]] or ["No Finding"])
    assert any(row["answers"] == ["Pleural Thickening"] for row in found.values())
    assert len({tuple(row["options"]) for row in found.values()}) > 100


def images(train_normal: int, train_positive: int, test_normal: int):
    number = train_normal + train_positive + test_normal
    names = [f"{k:08d}_000" for k in range(number)]
    positive = np.arange(number) % number >= train_normal + test_normal
    split = np.where(np.arange(number) < test_normal, "test", "train").tolist()
    columns = {
        "image": [f"{name}.png" for name in names],
        "file": [f"{name}.png" for name in names],
        "patient": [name[:8] for name in names],
        "study": names,
        "split": split,
        "labels": [["Mass"] if flag else [] for flag in positive],
        "view": ["PA"] * number,
        "follow_up": [0] * number,
        "height": [1024] * number,
        "width": [1024] * number,
        "age": [50] * number,
        "sex": ["F"] * number,
        "origin": ["made up"] * number,
    }
    reader = get_source(SOURCE)
    return {
        "images": pa.table(columns, schema=reader.tables["images"].schema),
        "boxes": reader.tables["boxes"].schema.empty_table(),
    }


def test_training_keeps_ten_thousand_normal_images_and_test_all():
    def normal(rows, split):
        return {name for name, row in rows.items() if row["split"] == split and row["answers"] == ["No Finding"]}

    rows = records(images(11_000, 300, 10_400), SOURCE, TASK)
    assert len(normal(rows, "train")) == 10_000
    assert len(normal(rows, "test")) == 10_400
    assert sum(row["answers"] == ["Mass"] for row in rows.values()) == 300
    other_seed = records(images(11_000, 300, 10_400), SOURCE, TASK, seed=1)
    assert 8_500 < len(normal(rows, "train") & normal(other_seed, "train")) < 9_700
    # Whether an image is kept depends on its own name: other images do not change the order.
    fewer = records(images(10_500, 300, 10_400), SOURCE, TASK)
    common = set(map(str, normal(fewer, "train"))) & {f"{k:08d}_000" for k in range(10_400, 20_900)}
    assert normal(rows, "train") & {f"{k:08d}_000" for k in range(10_400, 20_900)} <= common


def test_a_split_of_ones_own_is_taken_only_if_asked_for(tmp_path):
    _, tables = corpus(tmp_path, SOURCE, 30)
    names = tables["images"]["image"].to_pylist()
    wanted = ["valid" if k < 4 else "test" if k < 11 else "train" for k in range(30)]
    lines = [f"{name.replace('.png', '.jpg')},0,{split}\n" for name, split in zip(names, wanted, strict=True)]
    (tmp_path / SOURCE / "split_by_image.csv").write_text("image,mass,split\n" + "".join(reversed(lines)))
    assert read(tmp_path / SOURCE, SOURCE)["images"]["split"] == tables["images"]["split"]
    own = read(tmp_path / SOURCE, SOURCE, split="file")["images"]["split"].to_pylist()
    assert own == ["val"] * 4 + ["test"] * 7 + ["train"] * 19
    for name in ("train_val_list.txt", "test_list.txt"):
        (tmp_path / SOURCE / name).unlink()
    assert read(tmp_path / SOURCE, SOURCE)["images"]["split"].to_pylist() == own


def test_real_files(shared_data):
    assert_expected_of_real_files(shared_data, SOURCE, (TASK,))
