from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct.sources.files import decode_json_lines, origins, read_json, read_json_lines


def test_a_file_that_is_not_there(tmp_path, told):
    for read in (read_json, read_json_lines):
        assert "none.x" in told(read, tmp_path / "none.x")
        assert "No such file" in told(read, tmp_path / "none.x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1,\n "b": }', "x.json:2: malformed JSON (Expecting value); the file may be cut off"),
        ("", "x.json:1: malformed JSON (Expecting value); the file may be cut off"),
        (b'{"a": "\xe9"}', "x.json: cannot be read: 'utf-8' codec can't decode"),
        ('{"a":\n"\\ud800"}', "x.json:2: malformed JSON (str is not valid UTF-8: surrogates not allowed)"),
        ("[" * 100_000, "x.json:1: malformed JSON (maximum recursion depth exceeded"),
        ("9" * 5000, "x.json:1: malformed JSON (Exceeds the limit (4300"),
    ],
)
def test_a_json_file_that_is_none(file, told, content, message):
    assert told(read_json, file(content, "x.json")).startswith(message)


def test_json_reads_a_bare_nan_as_nothing(file):
    assert read_json(file('{"a": NaN, "b": [NaN, "NaN", 1e3]}', "x.json")) == {"a": None, "b": [None, "NaN", 1000.0]}
    assert read_json(file('"\\ud83d\\ude00"', "x.json")) == "😀"


def test_a_byte_order_mark_is_no_part_of_the_text(file):
    assert read_json(file('\ufeff{"a": 1}', "x.json")) == {"a": 1}
    lines = file('\ufeff{"a": 1}\n{"a": 2}', "x.jsonl")
    assert list(read_json_lines(lines)) == [(1, {"a": 1}), (2, {"a": 2})]
    numbers, records = decode_json_lines(lines, dict[str, int])
    assert (list(numbers), records) == ([1, 2], [{"a": 1}, {"a": 2}])


def test_json_lines_keep_their_numbers(file, told):
    content = '{"a": 1}\n\n  \n{"a": 2}'
    assert list(read_json_lines(file(content, "x.jsonl"))) == [(1, {"a": 1}), (4, {"a": 2})]
    assert (
        told(read_json_lines, file(content + "\n[1]\n", "x.jsonl")) == "x.jsonl:5: expected a JSON object, found list"
    )
    assert told(read_json_lines, file(content[:-1], "x.jsonl")).startswith("x.jsonl:4: malformed JSON: ")


@given(st.dictionaries(st.text(max_size=4), st.none() | st.integers(-9, 9) | st.text(max_size=4), max_size=4))
def test_json_is_what_was_written(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    path.write_text(json.dumps(value))
    assert read_json(path) == value


def test_origins_count_rows():
    assert origins("a/b.csv", 3, 9).to_pylist() == ["a/b.csv:9", "a/b.csv:10", "a/b.csv:11"]
    assert origins("x", 0).to_pylist() == []
