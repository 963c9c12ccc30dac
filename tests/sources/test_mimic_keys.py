from pathlib import Path

import pyarrow as pa
import pytest

from instruct.errors import DataError
from instruct.sources.mimic_keys import are_keys, image_paths, numbered_keys, path_parts

HERE = Path("table.csv")


@pytest.mark.parametrize("values", [["50414267"], ["s50414267"], [50414267]])
def test_numbers_and_texts_give_the_same_key(values):
    assert numbered_keys(pa.array(values), "s", HERE, "study_id").to_pylist() == ["s50414267"]


@pytest.mark.parametrize("wrong", ["5041426", "p50414267", "50414267.0", None])
def test_a_text_that_is_no_number_is_refused_with_its_line(wrong):
    with pytest.raises(DataError, match=r"table.csv:3: study_id is .*; expected a MIMIC-CXR number of eight digits"):
        numbered_keys(pa.array(["50414267", wrong]), "s", HERE, "study_id")


@pytest.mark.parametrize("wrong", [5041426, 504142670, None])
def test_a_number_of_other_length_is_refused_with_its_line(wrong):
    with pytest.raises(DataError, match=r"table.csv:90: subject_id"):
        numbered_keys(pa.chunked_array([[10000032], [wrong]], pa.int64()), "p", HERE, "subject_id", [7, 90])


def test_image_paths_are_those_of_the_jpg_release():
    paths = image_paths(pa.array(["p10000032"]), pa.array(["s50414267"]), pa.array(["02aa804e-1"]))
    assert paths.to_pylist() == ["p10/p10000032/s50414267/02aa804e-1.jpg"]


def test_the_last_three_parts_of_a_path():
    paths = ["files/p10/p10000032/s50414267/a.b.jpg", "p10000032/s50414267/a", "s50414267/a", "a", "", None]
    found = zip(*(part.to_pylist() for part in path_parts(pa.chunked_array([paths[:2], paths[2:]]))), strict=True)
    ends = [("p10000032", "s50414267", "a.b.jpg"), ("p10000032", "s50414267", "a"), ("", "s50414267", "a")]
    assert list(found) == [*ends, ("", "", "a"), ("", "", ""), ("", "", "")]


def test_keys_are_a_letter_and_eight_digits():
    texts = pa.array(["s50414267", "50414267", "s5041426", "s504142670", "p50414267", "s5041426x", "s١٢٣٤", "s", ""])
    assert are_keys(texts, "s").to_pylist() == [True, *[False] * 8]
