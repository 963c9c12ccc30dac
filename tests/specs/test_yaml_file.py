from __future__ import annotations

import json
import math
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import Field

from instruct.errors import SpecError
from instruct.model import StrictModel
from instruct.specs.yaml_file import YamlFile, load_value, load_yaml


@pytest.fixture
def load(tmp_path):
    def load(text: str) -> YamlFile:
        (tmp_path / "x.yaml").write_text(text, "utf-8")
        return load_yaml(tmp_path / "x.yaml")

    return load


@pytest.fixture
def problems(load, tmp_path):
    def problems(text: str, model: type[StrictModel] | None = None) -> list[str]:
        with pytest.raises(SpecError) as caught:
            file = load(text)
            assert model is not None, f"read without an error: {file.data!r}"
            file.validate(model)
        return [problem.removeprefix(f"{tmp_path}/") for problem in caught.value.problems]

    return problems


def test_plain_values_are_those_of_yaml_1_2(load):
    text = (
        "[yes, no, on, Off, y, N, 012, 1:30, 2024-01-02, 1e3, 1_000, 0o17, 0x1F, 0b1, +5, -.5, true, FALSE, ~, null, ]"
    )
    assert load(text).data == [
        "yes", "no", "on", "Off", "y", "N", 12, "1:30", "2024-01-02", 1000.0, "1_000", 15, 31, "0b1", 5, -0.5, True,
        False, None, None,
    ]  # fmt: skip
    assert [type(value) for value in load("[1, 1.0, 012, 1e3]").data] == [int, float, int, float]
    infinite, negative, not_a_number = load("[.inf, -.INF, .nan]").data
    assert (infinite, negative) == (math.inf, -math.inf)
    assert math.isnan(not_a_number)
    assert load("<<: {a: 1}\nb: =").data == {"<<": {"a": 1}, "b": "="}
    assert load("'1': \"no\"\nblock: |\n  two\n  lines\n").data == {"1": "no", "block": "two\nlines\n"}
    assert load("").data is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abyesnoxX01:-#'\"\n ", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
)


@given(json_values)
def test_json_is_read_as_it_is(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.yaml"
    path.write_text(json.dumps(value), "utf-8")
    assert load_yaml(path).data == value


def test_a_key_that_stands_twice_is_an_error_with_both_lines(problems):
    assert problems("a: 1\nb:\n  c: 1\n  'c': 2\na: 3\n") == [
        "x.yaml:4:3: key 'c' stands twice (first on line 3)",
        "x.yaml:5:1: key 'a' stands twice (first on line 1)",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1, 2\nb: 3\n", "x.yaml:2:2: not valid YAML: did not find expected ',' or ']'"),
        ("a:\n\t- b\n", "x.yaml:2:1: not valid YAML"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2:1: not valid YAML: but found another document"),
        ("a: *b\n", "x.yaml:1:4: not valid YAML: found undefined alias"),
        ("a: \x07\n", "x.yaml:1:1: not valid YAML: control characters are not allowed"),
        ("ä: 1\nb: \x00\n", "x.yaml:2:1: not valid YAML: control characters are not allowed"),
        ("a:\n  ? [x, y]\n  : 1\n", "x.yaml:2:5: a key must be a plain text"),
        ("a: &x\n  - [*x]\n", "x.yaml:2:5: an alias holds itself"),
        ("a: !!python/object/apply:os.getcwd []\n", "x.yaml:1:4: not valid YAML: could not determine a constructor"),
        ("a: !!timestamp soon\n", "x.yaml:1:4: not valid YAML: could not determine a constructor"),
        ("a: !!int soon\n", "x.yaml:1:4: not valid YAML: 'soon' is no int"),
        ("a: !!bool maybe\n", "x.yaml:1:4: not valid YAML: 'maybe' is no bool"),
        ("a: " + "9" * 5000, "x.yaml:1:4: not valid YAML: '9999"),
        ("[" * 3000 + "]" * 3000, "x.yaml:1:"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_place(problems, text, told):
    (problem,) = problems(text)
    assert problem.startswith(told)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(SpecError, match=r"none\.yaml:1:1: cannot be read: .*No such file"):
        load_yaml(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("a: é".encode("latin-1"))
    with pytest.raises(SpecError, match=r"latin\.yaml:1:1: cannot be read: 'utf-8' codec"):
        load_yaml(tmp_path / "latin.yaml")


@given(st.text("ab01: -[]{}&*!|>'\"#%,?~.\n\t\x07é", max_size=40))
@example("? \n")
@example("- &a\n- *a")
@example("&a a: *a")
@example("!!float")
@example("%YAML 3.0\n---\na")
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, "utf-8")
    try:
        file = load_yaml(path)
    except SpecError as error:
        assert all(problem.startswith(f"{path}:") for problem in error.problems)
    else:
        assert file.place(()).startswith(f"{path}:")


def test_aliases_of_aliases_cost_nothing(load):
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    data = load("\n".join(lines)).data
    assert data["a1"] == [["x", "x"]] * 9
    assert len(data) == 20


class Inner(StrictModel):
    rows: int = Field(ge=1)
    mode: Literal["fast", "slow"] = "fast"


class Outer(StrictModel):
    name: str
    many: list[Inner] = Field(default_factory=list)
    one: Inner | None = None
    by_name: dict[str, Inner] = Field(default_factory=dict)
    loose: dict[str, Any] = Field(default_factory=dict)
    pair: tuple[float, float] = (0.0, 1.0)
    either: Literal["all"] | int | list[str] = "all"


def test_every_fault_is_told_at_once_with_line_and_column(problems):
    text = """\
many:
  - rows: 0
  - rows: 2
    mode: quick
  - rows: [1]
one: {rows: 1, mod: slow}
by_name:
  first:
    raws: 3
loose:
  anything: [goes, {here: too}]
pair: [0.5]
either: [1]
nmae: x
"""
    assert problems(text, Outer) == [
        "x.yaml:1:1: name: this key is required",
        "x.yaml:2:5: many.0.rows: Input should be greater than or equal to 1, not 0",
        "x.yaml:4:5: many.1.mode: Input should be 'fast' or 'slow', not 'quick'",
        "x.yaml:5:5: many.2.rows: Input should be a valid integer",
        "x.yaml:6:16: one.mod: unknown key; did you mean 'mode'?",
        "x.yaml:8:3: by_name.first.rows: this key is required",
        "x.yaml:9:5: by_name.first.raws: unknown key; did you mean 'rows'?",
        "x.yaml:12:1: pair.1: this key is required",
        "x.yaml:13:10: either.0: Input should be a valid string, not 1",
        "x.yaml:14:1: nmae: unknown key; did you mean 'name'?",
    ]


def test_an_unknown_key_far_from_any_other_shows_those_there_are(problems):
    assert problems("name: x\nquux: 1\n", Outer) == [
        "x.yaml:2:1: quux: unknown key; known keys: by_name, either, loose, many, name, one, pair"
    ]


@pytest.mark.parametrize(("text", "told"), [("", "x.yaml:1:1: the file"), ("- a\n", "x.yaml:1:1: the file")])
def test_a_file_that_is_no_mapping(problems, text, told):
    (problem,) = problems(text, Outer)
    assert problem.startswith(told)


def test_places_are_those_of_keys_and_of_items(load, tmp_path):
    file = load("a:\n  - x\n  - b: 1\n    c: {d: 2}\n")
    places = {
        ("a",): "1:1", ("a", 0): "2:5", ("a", 1): "3:5", ("a", 1, "b"): "3:5", ("a", 1, "c"): "4:5",
        ("a", 1, "c", "d"): "4:9", ("a", 1, "c", "nothing", 5): "4:5", ("zz",): "1:1",
    }  # fmt: skip
    assert {location: file.place(location) for location in places} == {
        location: f"{tmp_path}/x.yaml:{place}" for location, place in places.items()
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("no", "no"),
        ("[a, 1]", ["a", 1]),
        ("", None),
        ("a: b", {"a": "b"}),
        ("[", "["),
        ("!!int x", "!!int x"),
    ],
)
def test_a_single_value(text, value):
    assert load_value(text) == value
