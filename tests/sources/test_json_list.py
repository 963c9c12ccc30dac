"""JSON lists read piece by piece; objects are covered with the REX-Gradient reader."""

import json

import pytest

from instruct.errors import DataError
from instruct.sources.json_stream import iter_items

ITEMS = [{"k": k, "text": 'a }, { b "quoted"', "inner": [{"a": 1}, {"b": [k]}], "empty": {}} for k in range(40)]


@pytest.mark.parametrize("piece", [7, 64, 1000, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_pieces_of_any_size_give_the_whole_list(tmp_path, piece, indent):
    path = tmp_path / "list.json"
    path.write_text(" \n" + json.dumps(ITEMS, indent=indent) + "\n")
    parts = list(iter_items(path, piece))
    assert [item for part in parts for item in part] == ITEMS
    assert (len(parts) > 2) == (piece < 1 << 20)


def test_an_empty_list_has_no_items(tmp_path):
    (tmp_path / "list.json").write_text("[]")
    assert list(iter_items(tmp_path / "list.json")) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ends in the middle of a record"),
        ('{"a": 1}', r"list.json:1: not a JSON list; expected \[record, ...\]"),
        (json.dumps(ITEMS)[:-1], "ends in the middle of a record"),
        (json.dumps(ITEMS)[:300], "ends in the middle of a record"),
        ('[{"a": 1},\n {"a": }]', "list.json:2: malformed JSON"),
        ('[{"a": 1}, 2]', "the list holds int"),
    ],
)
def test_a_file_that_is_no_list_of_objects_is_refused(tmp_path, text, message):
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(DataError, match=message):
        list(iter_items(tmp_path / "list.json", 128))


def test_a_bare_nan_is_none(tmp_path):
    (tmp_path / "list.json").write_text('[{"a": NaN, "b": "NaN"}, {"a": [NaN]}]')
    assert [item for part in iter_items(tmp_path / "list.json") for item in part] == [
        {"a": None, "b": "NaN"},
        {"a": [None]},
    ]
