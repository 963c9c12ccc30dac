from __future__ import annotations

import csv
import gzip
import io

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct.sources.csv_files import csv_columns, iter_csv, read_csv

TEXT, INT, FLOAT = pa.string(), pa.int64(), pa.float64()


def test_columns_come_as_declared_and_in_the_order_wanted(file):
    table = read_csv(file('id, Age ,x,note\n1,40.5,9," a ""b"", c "\n2,,9,\n'), {"note": TEXT, "id": INT, "Age": FLOAT})
    assert table.schema == pa.schema([("note", TEXT), ("id", INT), ("Age", FLOAT)])
    assert table.to_pylist() == [{"note": 'a "b", c', "id": 1, "Age": 40.5}, {"note": None, "id": 2, "Age": None}]


def test_optional_columns_other_separators_and_files_without_names(file):
    assert read_csv(file("a\n1\n"), {"a": INT}, optional={"b": TEXT}).to_pylist() == [{"a": 1, "b": None}]
    assert read_csv(file("a\tb\n1\tx,y\n"), {"b": TEXT}, delimiter="\t").to_pylist() == [{"b": "x,y"}]
    assert read_csv(file("1,x\n2,y\n"), {"n": INT, "t": TEXT}, header=False).to_pylist()[1] == {"n": 2, "t": "y"}
    named = read_csv(file("what,ever\n1,x\n"), {"t": TEXT}, names=["n", "t"])
    assert named.to_pylist() == [{"t": "x"}]


cells = st.text(st.sampled_from("ab ,\"\n'é;\t0"), max_size=6)


@given(st.lists(st.tuples(cells, cells), max_size=8), st.booleans())
def test_any_text_in_a_cell_is_read_back_trimmed(tmp_path_factory, rows, zipped):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("one", "two"), *rows])
    path = tmp_path_factory.getbasetemp() / ("cells.csv.gz" if zipped else "cells.csv")
    content = out.getvalue().encode()
    path.write_bytes(gzip.compress(content) if zipped else content)
    table = read_csv(path, {"two": TEXT, "one": TEXT})
    assert list(zip(table["one"].to_pylist(), table["two"].to_pylist(), strict=True)) == [
        tuple(cell.strip() or None for cell in row) for row in rows
    ]
    assert pa.concat_tables([table.slice(0, 0), *iter_csv(path, {"two": TEXT, "one": TEXT})]) == table


WHOLE = gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (number, number * 7919 % 1000) for number in range(9000)))


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("", "x.csv", "x.csv:1: expected the names of columns, found nothing"),
        ("b,c\n1,2\n", "x.csv", "x.csv:1: no column a; the file has b, c"),
        ("a,b\n1,2\n3\n", "x.csv", "x.csv:3: Expected 2 columns, got 1: 3"),
        ("a,b\n1,2\n3,4,5\n", "x.csv", "x.csv:3: Expected 2 columns, got 3: 3,4,5"),
        ("a,b\n1,2\n\nx,4\n", "x.csv", "x.csv:4: In CSV column #0: CSV conversion error to int64: invalid value 'x'"),
        (b"a,\xe9\n1,2\n", "x.csv", "x.csv:1: cannot be read: 'utf-8' codec can't decode"),
        (WHOLE[: len(WHOLE) // 2], "x.csv.gz", "x.csv.gz: Truncated compressed stream"),
        (WHOLE[:15] + b"\xff\xff\xff\xff" + WHOLE[19:], "x.csv.gz", "x.csv.gz:1: cannot be read: Error -3"),
        (WHOLE[:9000] + b"\xff\xff\xff\xff" + WHOLE[9004:], "x.csv.gz", "x.csv.gz"),
        (b"a,b\n1,2\n", "x.csv.gz", "x.csv.gz:1: cannot be read: Not a gzipped file"),
    ],
)
def test_a_csv_file_that_is_not_as_declared(file, told, content, name, message):
    for read in (read_csv, iter_csv):
        assert told(read, file(content, name), {"a": INT}).startswith(message)


def test_a_large_csv_file_is_read_in_pieces_and_a_fault_in_its_last_line_is_told(file, told):
    rows = "".join(f"{number},{'x' * 40}\n" for number in range(300_000))
    pieces = list(iter_csv(file(f"a,b\n{rows}"), {"a": INT}))
    assert len(pieces) > 2
    assert pa.concat_tables(pieces)["a"].to_pylist() == list(range(300_000))
    assert told(iter_csv, file(f"a,b\n{rows}x,y\n"), {"a": INT}).startswith("x.csv:300002: ")


def test_a_file_that_is_not_there(tmp_path, told):
    for read, arguments in ((read_csv, ({"a": INT},)), (iter_csv, ({"a": INT},)), (csv_columns, ())):
        assert "none.x" in told(read, tmp_path / "none.x", *arguments)
        assert "No such file" in told(read, tmp_path / "none.x", *arguments)
