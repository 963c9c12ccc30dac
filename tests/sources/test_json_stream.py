"""JSON read piece by piece equals JSON read at once, wherever the pieces are cut."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from instruct.errors import DataError
from instruct.sources.json_stream import iter_items, iter_members

MARK = b'"Uid"'
FIELDS = ("Uid", "text", "either", "names", "views")


class Record(msgspec.Struct, kw_only=True):
    """A field of every kind that a record can have."""

    Uid: str
    text: str | None
    either: str | int | float | None = None
    names: list[str] = []
    views: list[str | None] = []


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
bodies = st.dictionaries(strings.filter(lambda key: key not in FIELDS), values, max_size=4)
# What looks like another kind of value, where a text may stand.
texts = strings | st.sampled_from(
    ["true", "false", "12", "-1.5e3", "[1]", "{", "Infinity", "NaN", "2 views", "null", "\0", "[sic] clear"]
)
good = st.fixed_dictionaries(
    {"Uid": texts, "text": texts | st.none()},
    optional={
        "either": texts | st.none() | st.integers(-(2**60), 2**60) | st.floats(allow_infinity=False),
        "names": st.lists(texts, max_size=3),
        "views": st.lists(texts | st.none(), max_size=3),
    },
)
WHOLE = {"Uid": "1", "text": "", "either": None, "names": [], "views": []}
whole = good.map(lambda record: {"either": None, "names": [], "views": []} | record)
any_value = texts | values
wrong = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, any_value)).map(lambda record: WHOLE | record)


def mixed(fields: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Members whose records have other fields too."""
    return st.dictionaries(strings, st.tuples(bodies, fields).map(lambda parts: parts[0] | parts[1]), max_size=8)


layouts = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])


def without_nan(value: object) -> object:
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    return [without_nan(item) for item in value] if isinstance(value, list) else value


def settled(record: Record) -> dict[str, object]:
    """What is read of a record: NaN, be it a text, is null wherever a null may be."""

    def null(value: object) -> object:
        return None if value == "NaN" else value

    return {
        "Uid": record.Uid,
        "text": null(record.text),
        "either": null(record.either),
        "names": record.names,
        "views": [null(view) for view in record.views],
    }


def wanted(members: dict[str, Any]) -> list[dict[str, object]] | None:
    """What is read of members, one by one; None where they are not of the type."""
    try:
        records = {key: msgspec.convert(value, Record) for key, value in without_nan(members).items()}
    except msgspec.ValidationError:
        return None
    return [{"key": key} | settled(record) for key, record in records.items()]


def same(given: object, wanted: object) -> bool:
    """Whether two values are the same; a number is a text, of whatever form."""
    if isinstance(wanted, int | float):
        return isinstance(given, str) and float(given) == float(wanted)
    return given == wanted


def assert_read(path, members: dict[str, Any], piece: int) -> None:
    expected = wanted(members)
    if expected is None:
        with pytest.raises(DataError, match=r"object\.json:\d"):
            list(iter_members(path, MARK, Record, piece))
        return
    found = [row for part in iter_members(path, MARK, Record, piece) for row in part.to_pylist()]
    assert len(found) == len(expected)
    for row, other in zip(found, expected, strict=True):
        assert row.keys() == other.keys()
        assert all(same(row[name], other[name]) for name in row), (row, other)


@settings(max_examples=100)
@given(mixed(whole) | mixed(good), layouts, st.integers(1, 60))
@example({"a": {"Uid": "1", "text": "x},"}, "}": {"Uid": "2", "text": None, "c": {"}": {"d": float("nan")}}}}, {}, 5)
@example({"a": {"Uid": "1", "text": '": NaN', "either": float("nan"), "names": [], "views": []}}, {}, 1)
def test_members_of_an_object_however_it_is_cut(tmp_path_factory, members, layout, piece):
    path = tmp_path_factory.getbasetemp() / "object.json"
    path.write_text(json.dumps(members, **layout), "utf-8")
    assert_read(path, members, piece)


@settings(max_examples=100)
@given(mixed(whole), mixed(wrong), st.integers(1, 200))
@example({}, {"a": {"Uid": "1", "text": True}}, 50)
@example({}, {"a": {"Uid": "1", "text": None, "views": [5]}}, 50)
@example({}, {"a": WHOLE | {"Uid": float("nan")}}, 50)
@example({}, {"a": WHOLE | {"names": [float("nan")]}}, 50)
@example({}, {"a": WHOLE | {"Uid": "NaN", "text": "NaN", "names": ["NaN"], "views": ["NaN"]}}, 50)
def test_what_is_not_of_the_type_is_told_wherever_it_stands(tmp_path_factory, members, others, piece):
    path = tmp_path_factory.getbasetemp() / "object.json"
    path.write_text(json.dumps(members | others), "utf-8")
    assert_read(path, members | others, piece)


def test_texts_that_look_like_numbers_or_lists_are_read_as_they_are(tmp_path):
    path = tmp_path / "object.json"
    looks = ["12", "true", "[1]", "{}", "-1.5e3", "Infinity"]
    members = {f"s{number}": {"Uid": "1", "text": looks[number % 6], "names": looks} for number in range(60)}
    path.write_text(json.dumps(members), "utf-8")
    assert_read(path, members, 500)


def test_the_columns_of_a_part_are_texts_and_lists_of_texts(tmp_path):
    path = tmp_path / "object.json"
    for record in ({"either": 1.5}, {"either": 1.5, "names": ["a"], "views": [None]}):
        path.write_text(json.dumps({"a": {"Uid": "1", "text": "b"} | record}))
        (part,) = iter_members(path, MARK, Record)
        lists = dict.fromkeys(("names", "views"), pa.list_(pa.string()))
        assert part.schema == pa.schema(dict.fromkeys(("key", "Uid", "text", "either"), pa.string()) | lists)
        assert part["either"].to_pylist() == ["1.5"]


@settings(max_examples=30)
@given(st.lists(bodies, max_size=8), layouts, st.integers(1, 60))
def test_items_of_a_list_however_it_is_cut(tmp_path_factory, items, layout, piece):
    path = tmp_path_factory.getbasetemp() / "list.json"
    path.write_text(json.dumps(items, **layout), "utf-8")
    assert [item for part in iter_items(path, piece) for item in part] == without_nan(items)


def told(path, content: str | bytes, piece: int = 8000) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError) as caught:
        list(iter_members(path, MARK, Record, piece))
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
        (
            '{"a": {"Uid": "1", "text": ""}, "a": {"Uid": "2", "text": ""}, "b": {"Uid": "1", "text": ""}}',
            "x.json:1 (byte 1): two records have the key 'a'",
        ),
        (
            '{"a": {"Uid": "1", "text": ""},\n"b": {"text": ""}}',
            "x.json:2: record 'b': Object missing required field `Uid`",
        ),
        ('{"a": {"Uid": 1, "text": ""}}', "x.json:1 (byte 1): record 'a': Expected `str`, got `int` - at `$.Uid`"),
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
    assert sum(len(part) for part in iter_members(path, MARK, Record, 100)) == len(GOOD)
    path.write_text("\ufeff" + json.dumps(GOOD))
    assert sum(len(part) for part in iter_members(path, MARK, Record)) == len(GOOD)
    path.write_text("{}")
    assert list(iter_members(path, MARK, Record)) == []
