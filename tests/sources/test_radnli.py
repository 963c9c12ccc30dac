import pytest

from instruct import synth
from instruct.errors import DataError
from instruct.sources.radnli import PAIRS, SOURCE
from tests.rows.test_radnli import PAIRS as WRITTEN
from tests.rows.test_radnli import write_release


def read(root):
    return SOURCE.tables_of(SOURCE.find(root), SOURCE.options())["pairs"]


def test_the_table_holds_what_the_files_hold(tmp_path):
    write_release(tmp_path / "radnli")
    table = read(tmp_path / "radnli")
    assert table.schema.equals(PAIRS.schema)
    rows = [(row["pair"], row["label"], row["premise"], row["hypothesis"]) for row in table.to_pylist()]
    assert rows == [*WRITTEN["dev"], *WRITTEN["test"]]
    assert table["origin"].to_pylist() == [
        "radnli_dev_v1.jsonl:1", "radnli_test_v1.jsonl:1", "radnli_test_v1.jsonl:2",
    ]  # fmt: skip


def test_the_labels_of_the_made_up_corpus_are_those_planted(tmp_path):
    planted = synth.write("radnli", tmp_path, studies=101)
    table = read(tmp_path)
    labels = [
        f"{split}_{label}" for split, label in zip(*(table[n].to_pylist() for n in ("split", "label")), strict=True)
    ]
    assert {label: labels.count(label) for label in labels} == planted.distractors
    assert len(set(table["pair"].to_pylist())) == 101


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("2", "neutral", "", "No effusion."), r"jsonl:2: sentence1 is ''; expected a text"),
        (("2", "neutral", None, "No effusion."), r"jsonl:2: sentence1 is None.*MedNLI"),
        (("2", "maybe", "Clear.", "Clear."), r"jsonl:2: gold_label is 'maybe'; expected entailment, neutral"),
        (("1", "neutral", "Clear.", "Clear."), r"jsonl:2: pair_id '1' stands also on line 1"),
        ((7, "neutral", "Clear.", "Clear."), r"jsonl:2: pair_id is 7; expected a text"),
    ],
)
def test_a_line_of_another_form_is_named(tmp_path, row, message):
    write_release(tmp_path / "radnli", {"dev": [WRITTEN["dev"][0], row], "test": WRITTEN["test"]})
    with pytest.raises(DataError, match=message):
        read(tmp_path / "radnli")


def test_files_that_are_cut_off_or_missing_are_named(tmp_path):
    write_release(tmp_path / "radnli", {"dev": [], "test": WRITTEN["test"]})
    assert len(read(tmp_path / "radnli")) == 2
    path = tmp_path / "radnli" / "radnli_test_v1.jsonl"
    path.write_text(path.read_text()[:-9])
    with pytest.raises(DataError, match=r"radnli_test_v1\.jsonl:2: malformed JSON"):
        read(tmp_path / "radnli")
    path.unlink()
    with pytest.raises(DataError, match=r"test not found; expected radnli_test_v1\.jsonl .*PhysioNet"):
        read(tmp_path / "radnli")
