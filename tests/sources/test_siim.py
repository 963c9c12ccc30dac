import numpy as np
import pytest

from instruct.errors import DataError
from instruct.regions import decode_mask
from instruct.sources import get_source
from instruct.synth import siim

SOURCE = get_source("siim")
HEADER = "ImageId, EncodedPixels\n"


def read(root):
    return SOURCE.tables_of(SOURCE.find(root), SOURCE.options())


def write(root, text, name=siim.TABLE):
    (root / name).write_text(text)
    return root


def plainly_decoded(text):
    """The organisers' rule: fill a flat array, each gap from the end of the run before, then reshape and transpose."""
    flat = np.zeros(1024 * 1024, bool)
    numbers = [int(number) for number in text.split()]
    at = 0
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        at += gap
        flat[at : at + length] = True
        at += length
    return flat.reshape(1024, 1024).T


def rows_of(root):
    lines = (root / siim.TABLE).read_text().splitlines()
    assert lines[0] == HEADER.strip()
    return [line.split(", ") for line in lines[1:]]


def test_masks_are_those_of_the_table(tmp_path):
    root = tmp_path / "siim"
    planted = siim.write(root, studies=40, images=False)
    written = rows_of(root)
    tables = read(root)
    masks = tables["masks"].to_pylist()
    assert len(masks) == planted.distractors["regions"]
    filled = [(line, image, text) for line, (image, text) in enumerate(written, 2) if text != "-1"]
    for mask, (line, image, text) in zip(masks, filled, strict=True):
        decoded = plainly_decoded(text)
        assert (decode_mask(mask["mask"], 1024, 1024) == decoded).all()
        assert mask["image_id"] == image
        assert mask["origin"] == f"{siim.TABLE}:{line}"
        assert mask["size"] == [1024, 1024]
        assert mask["area"] == decoded.sum()
        rows, columns = np.nonzero(decoded)
        wanted = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert (np.array(mask["box"]) * 1024).tolist() == wanted


def test_every_image_is_there_once(tmp_path):
    root = tmp_path / "siim"
    planted = siim.write(root, studies=60, images=False)
    written = rows_of(root)
    images = read(root)["images"].to_pylist()
    assert [image["image_id"] for image in images] == list(dict.fromkeys(name for name, _ in written))
    assert sum(image["masks"] == 0 for image in images) == planted.distractors["images_without_pneumothorax"]
    assert sum(image["masks"] > 1 for image in images) == planted.distractors["images_with_several_regions"]
    for image in images:
        own = [(line, text) for line, (name, text) in enumerate(written, 2) if name == image["image_id"]]
        assert image["origin"] == f"{siim.TABLE}:{own[0][0]}"
        assert image["masks"] == sum(text != "-1" for _, text in own)
        assert image["image"] == f"{image['image_id']}.dcm"
    numbers = {}
    for mask in read(root)["masks"].to_pylist():
        numbers.setdefault(mask["image_id"], []).append(mask["number"])
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())


def test_overlapping_regions_are_planted(tmp_path):
    root = tmp_path / "siim"
    planted = siim.write(root, studies=60, images=False)
    held = {}
    for mask in read(root)["masks"].to_pylist():
        held.setdefault(mask["image_id"], []).append(decode_mask(mask["mask"], 1024, 1024))
    overlapping = sum(
        any((one & other).any() for place, one in enumerate(found) for other in found[:place])
        for found in held.values()
    )
    assert overlapping == planted.distractors["regions_that_overlap_another"] > 0


def test_files_are_found_below_their_uids(tmp_path):
    root = tmp_path / "siim"
    planted = siim.write(root, studies=20)
    images = read(root)["images"].to_pylist()
    for image in images:
        folder, study, series, file = image["image"].split("/")
        assert (folder, file) == ("dicom-images-train", f"{image['image_id']}.dcm")
        assert study != series
        assert (root / image["image"]).is_file()
    files = list((root / siim.TRAIN).rglob("*.dcm"))
    assert len(files) == 20 + planted.distractors["unlabelled_files"]


def test_the_later_table_has_no_blanks(tmp_path):
    write(tmp_path, "ImageId,EncodedPixels\na,-1\nb,10 5 3 2\na,-1\n", "stage_2_train.csv")
    (tmp_path / "stage_2_images").mkdir()
    (tmp_path / "stage_2_images" / "b.dcm").touch()
    tables = read(tmp_path)
    assert tables["images"].to_pylist() == [
        {"image_id": "a", "image": "a.dcm", "masks": 0, "origin": "stage_2_train.csv:2"},
        {"image_id": "b", "image": "stage_2_images/b.dcm", "masks": 1, "origin": "stage_2_train.csv:3"},
    ]
    assert tables["masks"]["area"].to_pylist() == [7]


def test_a_table_without_masks(tmp_path):
    tables = read(write(tmp_path, HEADER + "a, -1\n"))
    assert len(tables["masks"]) == 0 and tables["images"]["masks"].to_pylist() == [0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b, 1 2 3", "odd count of numbers"),
        ("b, 1048570 7", "runs beyond the 1024 x 1024 image"),
        ("b, 5 -2", "holds a negative number"),
        ("b, 5 two", "whole numbers .*; found '5 two'"),
        ("b, 5 2147483647", "runs beyond the 1024 x 1024 image"),
        ("b, 5 99999999999", "whole numbers of at most 1048576; found '5 99999999999'"),
        ("b, 99999999999999999999 5", "whole numbers"),
        ("b,", "expected an ImageId and run lengths, or -1"),
        (", -1", "expected an ImageId"),
    ],
)
def test_faulty_rows_are_named(tmp_path, row, message):
    write(tmp_path, HEADER + f"a, -1\nc, 5  6 7 8\n{row}\nd, 1 1\n")
    with pytest.raises(DataError, match=rf"train-rle.csv:4: .*{message}"):
        read(tmp_path)


def test_a_mask_and_none_contradict_each_other(tmp_path):
    write(tmp_path, HEADER + "a, 5 6\nb, -1\na, -1\n")
    with pytest.raises(DataError, match=r"train-rle.csv:4: image a has a mask in another row, and none here"):
        read(tmp_path)
