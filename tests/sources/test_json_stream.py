"""JSON read piece by piece equals JSON read at once, wherever the pieces are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from instruct.errors import DataError
from instruct.sources.json_stream import iter_items, iter_members

MARK = b'"Uid"'
# Texts that look like the end of a record, like a NaN, like the mark, or like half of a pair.
strings = st.text(st.sampled_from('a}{,:"\\ []\néN😀'), max_size=8) | st.sampled_from(
    [
        '}, "',
        '": NaN',
        "}",
        '"Uid"',
        '\\": NaN',
        "NaN",
        '}},{"k":',
        "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_infinity=False) | strings,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strings, inner, max_size=3),
    max_leaves=6,
)
bodies = st.dictionaries(strings.filter(lambda key: key != "Uid"), values, max_size=4)
objects = st.dictionaries(strings, bodies.map(lambda body: {"Uid": "1"} | body), max_size=8)
layouts = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])


def without_nan(value: object) -> object:
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    return [without_nan(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=40)
@given(objects, layouts, st.integers(1, 60))
@example({"a": {"Uid": "1", "b": "x},"}, "}": {"Uid": "2", "c": {"}": {"d": float("nan")}}}}, {}, 5)
@example({"a": {"Uid": "1", "b": '": NaN', "c": float("nan")}}, {}, 1)
def test_members_of_an_object_however_it_is_cut(tmp_path_factory, members, layout, piece):
    path = tmp_path_factory.getbasetemp() / "object.json"
    path.write_text(json.dumps(members, **layout), "utf-8")
    parts = list(iter_members(path, MARK, dict[str, Any], piece))
    assert [(key, value) for part in parts for key, value in part.items()] == list(without_nan(members).items())


@settings(max_examples=30)
@given(st.lists(bodies, max_size=8), layouts, st.integers(1, 60))
def test_items_of_a_list_however_it_is_cut(tmp_path_factory, items, layout, piece):
    path = tmp_path_factory.getbasetemp() / "list.json"
    path.write_text(json.dumps(items, **layout), "utf-8")
    assert [item for part in iter_items(path, piece) for item in part] == without_nan(items)


def told(path, content: str | bytes, piece: int = 8000) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError) as caught:
        list(iter_members(path, MARK, dict[str, Any], piece))
    return str(caught.value).replace(f"{path}", path.name)


GOOD = {f"s{number}": {"Uid": str(number), "text": "a, b}"} for number in range(9)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "x.json:1 (byte 0): the file ends in the middle of a record; get it again"),
        ("[]", "x.json:1: not a JSON object; expected {study key: record, ...}"),
        ("<html>", "x.json:1: not a JSON object; expected {study key: record, ...}"),
        ('{"a": [1]}', "x.json:1 (byte 1): 'a' is list; expected {study key: record}"),
        ('{\n"a": 3}', "x.json:1 (byte 1): 'a' is int; expected {study key: record}"),
        ('{"a": {"Uid": 1}, "a": {"Uid": 2}, "b": {"Uid": 1}}', "x.json:1 (byte 1): two records have the key 'a'"),
        ('{"a": {"Uid": 1},\n"b": {"text": ""}}', "x.json:2: record 'b' has no field \"Uid\""),
        ('{"a": {"Uid": 1}} trailing', "x.json:1 (byte 26): the file ends in the middle of a record; get it again"),
        ('{"a": {"Uid": 1},}', "x.json:1 (byte 17): malformed JSON"),
        ('{\n"a": {"Uid": 1 "x": 2}}', "x.json:2: malformed JSON: Expecting ',' delimiter"),
        ('{"a": {"Uid": 1, "x": \'2\'}}', "x.json:1 (byte 22): malformed JSON: Expecting value"),
        (b'{"a": {"Uid": 1, "x": "\xe9"}}', "x.json:1 (byte 23): not UTF-8 text"),
        ('{"a": {"Uid": 1, "x": "\\ud800"}}', "x.json:1 (byte 23): malformed JSON: str is not valid UTF-8"),
        ('{"a": {"Uid": 1, "x": ' + "[" * 5000 + "]" * 5000 + "}}", "x.json:1 (byte"),
        ('{"a": {"Uid": 1, "x": ' + "9" * 5000 + "}}", "x.json:1 (byte"),
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_told_with_its_place(tmp_path, content, message):
    assert told(tmp_path / "x.json", content).startswith(message)


@pytest.mark.parametrize("piece", [1, 7, 40, 10_000])
@pytest.mark.parametrize("layout", [{}, {"indent": 2}])
def test_a_file_cut_off_anywhere_is_told(tmp_path, piece, layout):
    whole = json.dumps(GOOD, **layout)
    for end in range(0, len(whole), 17):
        message = told(tmp_path / "x.json", whole[:end], piece)
        assert message.startswith("x.json:")
        assert "the file ends in the middle of a record; get it again" in message or "malformed JSON" in message


def test_a_file_is_given_in_parts(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(GOOD))
    assert len(list(iter_members(path, MARK, dict[str, Any], 100))) > 2
    path.write_text("{}")
    assert list(iter_members(path, MARK, dict[str, Any])) == []
