"""Made-up corpora hold what their generator planted: every row of the count table must find exactly that."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from instruct.api import build_dataset
from instruct.synth import write
from instruct.synth.planted import Planted
from tests.build.helpers import call
from tests.conftest import Corpora, run_cli

# Traps that the rules of the rows must not fall into.
TRAPS = (
    "pair_without_keyword",
    "pair_with_keyword_only_in_comparison",
    "pair_with_keyword_only_in_indication",
    "pair_with_keyword_in_findings_not_impression",
    "first_study_with_keyword_in_findings",
    "same_day_pair_ordered_by_missing_comparison",
    "same_day_pair_ordered_by_study_key",
    "impression_unfit_for_summarization",
)


def expected(*planted: Planted) -> dict[str, dict[str, dict[str, int]]]:
    return {
        row: {split: asdict(counts) for split, counts in splits.items()}
        for corpus in planted
        for row, splits in corpus.counts.items()
    }


def test_every_row_equals_what_was_planted(corpora: Corpora, tmp_path: Path) -> None:
    assert all(corpora.planted["rexgradient"].distractors[trap] for trap in TRAPS)
    result = build_dataset("demo", tmp_path / "out", data_root=corpora.root)
    counted = {
        row: {split: asdict(count) for split, count in splits.items()} for row, splits in result.counts.rows.items()
    }
    assert counted == expected(*corpora.planted.values())


@pytest.mark.parametrize("source", ["openi", "rexgradient"])
def test_the_smallest_corpus_of_another_seed_without_images(source: str, tmp_path: Path) -> None:
    planted = write(source, tmp_path / "data" / source, studies=20, seed=3, images=False)
    result = build_dataset(source, tmp_path / "out", data_root=tmp_path / "data")
    counted = {
        row: {split: asdict(count) for split, count in splits.items()} for row, splits in result.counts.rows.items()
    }
    assert counted == expected(planted)


def test_the_stricter_word_rule_rejects_the_traps_of_the_substring_rule(corpora: Corpora, tmp_path: Path) -> None:
    planted = corpora.planted["rexgradient"]
    row = "[Progression Findings Generation] [REX-Gradient]"
    traps = sum(
        number for name, number in planted.distractors.items() if name.startswith("pair_findings_substring_trap_")
    )
    assert traps > 0
    out = tmp_path / "out"
    call("build", "rexgradient", "mentions_change=word", "--data-root", corpora.root, "--out", out)
    counted = json.loads((out / "counts.json").read_text("utf-8"))["rows"][row]
    examples = sum(counts.examples for counts in planted.counts[row].values())
    assert sum(counted[split] for split in ("train", "val", "test")) == examples - traps


@pytest.mark.slow
def test_a_full_size_corpus(tmp_path: Path) -> None:
    planted = write("rexgradient", tmp_path / "data" / "rexgradient", studies=160_000, images=False)
    done = run_cli(
        "build", "rexgradient", "--data-root", tmp_path / "data", "--out", tmp_path / "out", "--workers", "2"
    )
    assert "the full release gives" not in done.stdout
    counted = json.loads(run_cli("counts", tmp_path / "out", "--json").stdout)["rows"]
    for row, splits in planted.counts.items():
        for split, counts in splits.items():
            found = (counted[row][split], counted[row][f"images_{split}"], counted[row][f"studies_{split}"])
            assert found == (counts.examples, counts.images, counts.studies), (row, split)
    assert run_cli("verify", tmp_path / "out").stdout.endswith("all is well\n")
