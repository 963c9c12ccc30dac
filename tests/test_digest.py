from __future__ import annotations

import datetime
import hashlib
import importlib
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct.digest import digest_batch, digest_bytes, digest_code, digest_file, digest_json, digest_package

REGIONS = pa.list_(pa.struct([("label", pa.string()), ("box", pa.list_(pa.float64()))]))


def digest(values, kind=None):
    return digest_batch(pa.record_batch({"x": pa.array(values, kind)}))


def test_bytes_texts_and_files_have_the_sha256_of_their_content(tmp_path):
    text = "Lungs are clear, 37 °C"
    wanted = hashlib.sha256(text.encode()).hexdigest()
    (tmp_path / "file").write_text(text, "utf-8")
    assert digest_bytes(text) == digest_bytes(text.encode()) == digest_bytes(memoryview(text.encode())) == wanted
    assert digest_file(tmp_path / "file") == wanted


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values, min_size=1), st.data())
def test_json_digest_ignores_key_order_and_sees_every_value(value, data):
    turned = dict(reversed(value.items()))
    assert digest_json(turned) == digest_json(value)
    key = data.draw(st.sampled_from(sorted(value)))
    assert digest_json(value | {key: [value[key]]}) != digest_json(value)


def test_json_digest_refuses_what_json_cannot_hold():
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_json({"share": float("nan")})


def test_code_digest_follows_the_source(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "digested_module.py"
    module.write_text("A = 1\n")
    first = digest_code(["digested_module"])
    assert digest_code(["digested_module"]) == first
    module.write_text("A = 2\n")
    assert digest_code(["digested_module"]) != first
    with pytest.raises(ModuleNotFoundError, match="instruct_nothing"):
        digest_code(["instruct_nothing"])


texts = st.none() | st.text(max_size=5)


@st.composite
def typed_columns(draw):
    kind, element = draw(
        st.sampled_from(
            [
                (pa.string(), texts),
                (pa.large_string(), texts),
                (pa.int64(), st.none() | st.integers(-(2**63), 2**63 - 1)),
                (pa.float64(), st.none() | st.floats(allow_nan=False)),
                (pa.bool_(), st.none() | st.booleans()),
                (pa.date32(), st.none() | st.dates()),
                (pa.list_(pa.string()), st.none() | st.lists(texts, max_size=3)),
                (
                    REGIONS,
                    st.none()
                    | st.lists(
                        st.none()
                        | st.fixed_dictionaries(
                            {"label": texts, "box": st.none() | st.lists(st.floats(0, 1), max_size=4)}
                        ),
                        max_size=2,
                    ),
                ),
            ]
        )
    )
    return kind, draw(st.lists(element, min_size=1, max_size=6)), element


@given(typed_columns(), st.data())
def test_batch_digest_is_of_the_values_alone(column, data):
    kind, values, element = column
    wanted = digest(values, kind)
    before, after = data.draw(st.lists(element, max_size=3)), data.draw(st.lists(element, max_size=3))
    within = pa.array([*before, *values, *after], kind).slice(len(before), len(values))
    assert digest_batch(pa.record_batch({"x": within})) == wanted
    cut = data.draw(st.integers(0, len(values)))
    parts = pa.chunked_array([values[:cut], values[cut:]], kind).combine_chunks()
    assert digest_batch(pa.record_batch({"x": parts})) == wanted


@given(typed_columns(), st.data())
def test_batch_digest_sees_every_value(column, data):
    kind, values, element = column
    at = data.draw(st.integers(0, len(values) - 1))
    other = [*values[:at], data.draw(element), *values[at + 1 :]]
    same = repr(pa.array(other, kind).to_pylist()) == repr(pa.array(values, kind).to_pylist())
    assert (digest(other, kind) == digest(values, kind)) == same
    assert digest([*values, values[0]], kind) != digest(values, kind)


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (["ab", "c"], ["a", "bc"], pa.string()),
        ([None], [""], pa.string()),
        ([None], [[]], pa.list_(pa.string())),
        ([["a"], ["b"]], [["a", "b"], []], pa.list_(pa.string())),
        ([None], [0], pa.int64()),
        ([0.0], [-0.0], pa.float64()),
        ([{"a": None}], [None], pa.struct([("a", pa.string())])),
    ],
)
def test_batch_digest_tells_neighbours_apart(one, other, kind):
    assert digest(one, kind) != digest(other, kind)


def test_batch_digest_sees_names_and_types():
    assert digest_batch(pa.record_batch({"x": [1]})) != digest_batch(pa.record_batch({"y": [1]}))
    assert digest([1], pa.int32()) != digest([1], pa.int64())
    assert digest(["a"], pa.string()) != digest(["a"], pa.large_string())


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        (pa.decimal128(5, 2), Decimal("1.50"), Decimal("1.51")),
        (pa.timestamp("us"), datetime.datetime(2020, 1, 1), datetime.datetime(2020, 1, 2)),
        (pa.time64("us"), datetime.time(1), datetime.time(2)),
        (pa.binary(), b"a", b"b"),
        (pa.map_(pa.string(), pa.int32()), [("a", 1)], [("a", 2)]),
        (pa.list_(pa.float64(), 2), [0.0, 1.0], [0.0, 0.5]),
        (pa.dictionary(pa.int8(), pa.string()), "a", "b"),
    ],
    ids=str,
)
def test_batch_digest_of_rarer_types_is_of_the_values_too(kind, one, other):
    # A query may give any type; a digest of addresses in memory would never be the same twice.
    assert digest([one, None], kind) == digest([one, None], kind) != digest([other, None], kind)
    assert digest_batch(pa.record_batch({"x": pa.array([other, one], kind).slice(1)})) == digest([one], kind)
    assert digest([None], kind) != digest([one], kind)


def test_the_code_of_a_package_is_all_that_lies_in_it(tmp_path, monkeypatch):
    (tmp_path / "clinic" / "parts").mkdir(parents=True)
    for name in ("__init__", "reader", "parts/dates"):
        (tmp_path / "clinic" / f"{name}.py").write_text("")
    (tmp_path / "alone.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    digests = []
    for changed in ("reader", "parts/dates", "../alone"):
        for module in ("clinic.reader", "alone"):
            importlib.import_module(module)
            digest_package.cache_clear()
            digests.append(digest_package(module))
        (tmp_path / "clinic" / f"{changed}.py").write_text("CHANGED = True\n")
    assert len(set(digests[::2])) == 3 and len(set(digests[1::2])) == 1
    digest_package.cache_clear()
    assert digest_package("alone") != digests[1] and digest_package("clinic.reader") == digests[4]
