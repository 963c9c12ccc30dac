from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct.build.counts import Count, Counts
from instruct.errors import DataError
from instruct.reports.count_table import (
    COLUMNS,
    TOTAL,
    column_key,
    column_title,
    compare,
    comparison_markdown,
    defects,
    planted_counts,
    published,
    read_csv,
    split_name,
    to_csv,
    to_json,
    to_markdown,
)
from instruct.synth.planted import Counts as PlantedCounts

SPLITS = ("train", "val", "test")
HEADS = [
    "train", "val", "test", "images (train)", "images (val)", "images (test)", "studies (train)", "studies (val)",
    "studies (test)",
]  # fmt: skip
KEYS = [column_key(*column) for column in COLUMNS]


def row(numbers: list[int]) -> dict[str, Count]:
    return {split: Count(*numbers[index::3]) for index, split in enumerate(SPLITS)}


def as_counts(table: dict[str, list[int]]) -> Counts:
    return Counts(
        {name: row(numbers) for name, numbers in table.items() if name != TOTAL}, row(table.get(TOTAL, [0] * 9))
    )


@pytest.fixture(scope="module")
def markdown() -> str:
    return to_markdown(as_counts(published()))


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def aligned(rows: list[list[str]]) -> list[str]:
    """A table as the published one is set: heads two wider than their text, everything to the left."""
    widths = [max(len(head) + 2, *(len(row[at]) for row in rows[1:])) for at, head in enumerate(rows[0])]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return [lines[0], "|" + "|".join(":" + "-" * (width + 1) for width in widths) + "|", *lines[1:]]


def test_the_published_numbers_print_as_the_published_file(markdown):
    lines = markdown.split("\n")
    assert lines[:8] == [
        "# Instruction Tuning Data for CXR",
        "",
        "## Data Summary",
        "",
        "|                 | Total     |",
        "|:----------------|:----------|",
        "| train           | 4,263,566 |",
        "| val             | 210,764   |",
    ]
    assert lines[14:18] == ["| studies (test)  | 62,454    |", "", "## All the datasets", ""]
    assert lines[18].startswith(
        "|                                                           | train     | val     | test    | images"
    )
    assert lines[19].startswith(
        "|:----------------------------------------------------------|:----------|:--------|:--------|:----"
    )
    assert lines[20].startswith(
        "| [Image Classification] [ChestXray14]                      | 43,345    | 11,211  | 22,425  | 43,345"
    )
    assert lines[-2].startswith(
        "| Total                                                     | 4,263,566 | 210,764 | 177,542 | 908,103"
    )
    assert lines[-1] == ""
    assert len(lines) == 18 + 2 + 56 + 1
    assert len(markdown) == 12_315 + 1  # the published file has no line break at its end


def test_both_tables_are_set_in_the_published_way(markdown):
    table = published()
    shown = {name: [f"{number:,}" for number in numbers] for name, numbers in table.items()}
    summary = [["", "Total"], *([head, number] for head, number in zip(HEADS, shown[TOTAL], strict=True))]
    whole = [["", *HEADS], *([name, *numbers] for name, numbers in shown.items())]
    assert markdown.split("\n") == [
        "# Instruction Tuning Data for CXR", "", "## Data Summary", "", *aligned(summary), "", "## All the datasets",
        "", *aligned(whole), "",
    ]  # fmt: skip


@given(st.dictionaries(st.sampled_from(["[A] [B]", "[A task that has a long name] [C]", "[D] [E]"]),
                       st.lists(st.integers(0, 10**9), min_size=9, max_size=9), min_size=1))  # fmt: skip
def test_any_table_is_set_in_the_published_way(table):
    totals = [sum(numbers) for numbers in zip(*table.values(), strict=True)]
    lines = to_markdown(as_counts(table | {TOTAL: totals})).split("\n")
    rows = [[name, *(f"{number:,}" for number in numbers)] for name, numbers in (table | {TOTAL: totals}).items()]
    assert lines[18:-1] == aligned([["", *HEADS], *rows])


def test_rows_without_data_are_printed_with_a_footnote():
    table = {"[A] [One]": [1] * 9, "[A] [Two]": [0] * 9, "[B] [Two]": [0] * 9, TOTAL: [1] * 9}
    text = to_markdown(as_counts(table), {"[A] [Two]": ["two", "upstream"], "[B] [Two]": ["two"]})
    assert "| [A] [Two] | 0       | 0     |" in text
    assert text.endswith("|\n\nRows of zeros without data: these sources were not on disk: two, upstream.\n")


def test_a_split_that_a_row_does_not_have_counts_nothing():
    counts = Counts({"[A] [B]": {"test": Count(3, 2, 1)}}, {"test": Count(3, 2, 1)})
    assert read_row(to_csv(counts), "A,B") == [0, 0, 3, 0, 0, 2, 0, 0, 1]


def read_row(text: str, start: str) -> list[int]:
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return [int(cell) for cell in line.split(",")[-9:]]


def test_the_published_table_adds_up():
    table = published()
    assert len(table) == 56
    assert list(table)[-1] == TOTAL
    rows = [numbers for name, numbers in table.items() if name != TOTAL]
    sums = [sum(column) for column in zip(*rows, strict=True)]
    assert sums[:3] == table[TOTAL][:3] == [4_263_566, 210_764, 177_542]
    assert sums[3:] == [4_020_900, 87_932, 117_954, 3_326_855, 90_791, 109_032]
    # Images and studies are those of the union: fewer than the sum, and not fewer than the largest row.
    for at in range(3, 9):
        assert max(numbers[at] for numbers in rows) <= table[TOTAL][at] < sums[at]
    assert len({split_name(name)[1] for name in table if name != TOTAL}) == 24
    assert len({split_name(name)[0] for name in table if name != TOTAL}) == 27
    zero = [name for name, numbers in table.items() if not any(numbers)]
    assert sorted(zero) == [
        "[Abnormality Detection] [VinDr-PCXR]", "[Abnormality Grounding] [VinDr-PCXR]",
        "[Grounded Diagnosis] [VinDr-PCXR]", "[Image Classification] [PadChest]",
    ]  # fmt: skip


def test_the_published_rows_of_the_main_job():
    assert published()["[Findings Summarization] [OpenI]"] == [0, 0, 3419, 0, 0, 0, 0, 0, 27]
    assert published()["[Progression Findings Generation] [REX-Gradient]"] == [
        28383, 1950, 2030, 52857, 3602, 3756, 28383, 1950, 2030,
    ]  # fmt: skip


def test_every_known_defect_is_of_a_cell_of_the_published_table():
    for (name, key), explanation in defects().items():
        assert name in published()
        assert key in KEYS
        assert explanation.endswith(".")
    assert "27 ids" in defects()["[Findings Summarization] [OpenI]", "studies_test"]
    assert "test set" in defects()["[Open-Ended VQA] [Rad-Restruct]", "val"]


def test_csv_and_json_give_the_numbers_back(tmp_path):
    counts = as_counts(published())
    file = tmp_path / "counts.csv"
    file.write_text(to_csv(counts), "utf-8")
    assert read_csv(file) == published()
    assert file.read_text().splitlines()[0] == "task,dataset," + ",".join(KEYS)
    assert compare(counts, read_csv(file)) == []
    data = json.loads(json.dumps(to_json(counts)))
    assert {name: list(numbers.values()) for name, numbers in data["rows"].items()} | {
        TOTAL: list(data["total"].values())
    } == published()
    assert list(data["total"]) == KEYS


names = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"], exclude_characters="[]"), min_size=1, max_size=9
)


@given(st.dictionaries(st.tuples(names, names).map(lambda pair: f"[{pair[0]}] [{pair[1]}]"),
                       st.lists(st.integers(0, 10**9), min_size=9, max_size=9), max_size=4))  # fmt: skip
def test_any_names_survive_the_csv_form(tmp_path_factory, table):
    file = tmp_path_factory.getbasetemp() / "any.csv"
    file.write_text(to_csv(as_counts(table)), "utf-8", newline="")
    assert read_csv(file) == table | {TOTAL: [0] * 9}


HEAD = "task,dataset," + ",".join(KEYS) + "\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "x.csv:1: a count table has the columns task, dataset, train, val, test, images_train"),
        (HEAD.replace(",val", ""), "x.csv:1: a count table has the columns task, dataset, train.*; missing: val$"),
        (HEAD + "A,B,1,2,3,4,5,6,7,8,many\n", r"x.csv:2: \[A\] \[B\]: .*'many'"),
        (HEAD + 'A,B,"1,000",2,3,4,5,6,7,8,9\n', r"x.csv:2: \[A\] \[B\]: .*'1,000'"),
        (HEAD + "A,B,1,2,3,4,5,6,7,8,9\nA,C,1\n", r"x.csv:3: \[A\] \[C\]: "),
        (b"task,\xe9\n", "x.csv: cannot be read: 'utf-8' codec"),
        (None, "x.csv: cannot be read: .*No such file"),
    ],
)
def test_a_count_table_that_cannot_be_read_is_told(tmp_path, content, message):
    file = tmp_path / "x.csv"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        read_csv(file)


def ours(**changes: int) -> Counts:
    """The published OpenI rows and Total, with our numbers in some cells of the summarization row."""
    name = "[Findings Summarization] [OpenI]"
    table = {row: numbers for row, numbers in published().items() if "OpenI" in row or row == TOTAL}
    numbers = dict(zip(KEYS, table[name], strict=True)) | changes
    return as_counts(table | {name: list(numbers.values())})


def test_compare_explains_a_known_defect():
    (difference,) = compare(ours(studies_test=3419), published())
    assert (difference.row, difference.column) == ("[Findings Summarization] [OpenI]", "studies (test)")
    assert (difference.ours, difference.theirs) == (3419, 27)
    assert difference.explanation == defects()["[Findings Summarization] [OpenI]", "studies_test"]


def test_compare_does_not_explain_what_is_no_known_defect():
    (difference,) = compare(ours(test=3418, studies_test=27), published())
    assert (difference.column, difference.ours, difference.theirs, difference.explanation) == ("test", 3418, 3419, "")


def test_a_defect_explains_only_the_published_figure():
    other = {name: list(numbers) for name, numbers in published().items()}
    other["[Findings Summarization] [OpenI]"][-1] = 30
    (difference,) = compare(ours(studies_test=3419), other)
    assert (difference.theirs, difference.explanation) == (30, "")


def test_rows_that_the_other_table_lacks_are_left_out():
    assert compare(ours(studies_test=1), {"[Other] [Row]": [1] * 9}) == []


def test_the_total_is_compared_where_all_rows_are_there():
    table = {name: list(numbers) for name, numbers in published().items()}
    table["[Findings Generation] [OpenI]"][2] += 1
    assert {item.row for item in compare(as_counts(table), published())} == {"[Findings Generation] [OpenI]"}
    table[TOTAL][2] += 1
    assert {item.row for item in compare(as_counts(table), published())} == {"[Findings Generation] [OpenI]", TOTAL}
    table["[Impression Generation] [OpenI]"] = [0] * 9
    assert TOTAL not in {item.row for item in compare(as_counts(table), published())}


def test_a_comparison_reads_as_a_table():
    counts = ours(studies_test=3419, test=3418)
    lines = comparison_markdown(counts, published(), compare(counts, published())).split("\n")
    assert lines == [
        "3 rows compared: 25 cells equal, 2 differ. The Total is not: 48 rows of the other table count nothing here.",
        "",
        "| row                              | column         | ours   | published   | difference   | note         |",
        "|:---------------------------------|:---------------|:-------|:------------|:-------------|:-------------|",
        "| [Findings Summarization] [OpenI] | test           | 3,418  | 3,419       | -1           |              |",
        "| [Findings Summarization] [OpenI] | studies (test) | 3,419  | 27          | +3,392       | known defect |",
        "",
        "Known defects of the published table:",
        "",
        "- [Findings Summarization] [OpenI], studies (test): "
        + defects()["[Findings Summarization] [OpenI]", "studies_test"],
        "",
    ]
    same = as_counts(published())
    assert comparison_markdown(same, published(), []) == "55 rows compared: 495 cells equal, 0 differ.\n"


def test_titles_and_keys_of_the_columns():
    assert [column_title(*column) for column in COLUMNS] == HEADS
    assert KEYS[3:6] == ["images_train", "images_val", "images_test"]
    assert split_name("[Close-Ended VQA] [Rad-Restruct]") == ("Close-Ended VQA", "Rad-Restruct")


def test_planted_numbers_become_counts():
    counts = planted_counts({"[A] [B]": {"train": PlantedCounts(3, 2, 1)}})
    assert counts.rows == {"[A] [B]": {"train": Count(3, 2, 1)}}
    assert counts.total == {}
