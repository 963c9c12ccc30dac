"""A split whose records are all left out: the rest opens as if it were not there."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest

from tests.build.helpers import call, stamps, write_spec, write_template
from tests.conftest import Corpora

QUERY = (
    "SELECT i::VARCHAR AS id, CASE WHEN i = 33 THEN 'val' ELSE 'train' END AS split, NULL::VARCHAR AS patient,"
    " [i::VARCHAR] AS studies, CASE WHEN i = 33 THEN '<image>' ELSE 'Clear.' END AS findings, 'a' AS origin"
    " FROM range({}) AS made(i)"
)


@pytest.mark.parametrize("first", [0, 33])
def test_a_split_without_an_example_does_not_keep_the_others_shut(corpora: Corpora, tmp_path: Path, first: int) -> None:
    specs, out = tmp_path / "specs", tmp_path / "out"
    write_spec(specs, {"mine": QUERY.format(f"{first}, 34"), "other": QUERY.format("0, 33")})
    for name in ("mine", "other"):
        write_template(specs, name, "Report.")
    command = (
        "build", "openi", "tasks=[mine-mine,other-mine]", "max_bad=1", "shard_rows=20", "--data-root", corpora.root,
        "--specs", specs, "--out", out,
    )  # fmt: skip
    call(*command)
    before = stamps(out)

    def load(*config: str) -> dict[str, int]:
        loaded = datasets.load_dataset(str(out), *config, cache_dir=str(tmp_path / "cache"))
        return {split: len(part) for split, part in loaded.items()}

    assert load() == {"train": 66 - first}
    assert {split: len(part) for split, part in datasets.load_from_disk(str(out)).items()} == {"train": 66 - first}
    configs = datasets.get_dataset_config_names(str(out))
    assert sorted(configs) == (["all", "mine-mine", "other-mine"] if first == 0 else ["all", "other-mine"])
    if first == 0:
        assert load("mine-mine") == {"train": 33}
    mine = json.loads((out / "manifest.json").read_text("utf-8"))["tasks"][0]
    assert mine["splits"]["val"]["records"] == 1 and mine["bad"] == {"special_token": 1}
    assert call("verify", out).out == f"{out}: all is well\n"
    assert "Answers and prompts" in call("stats", out).out
    call(*command)
    assert stamps(out) == before
    log = [json.loads(line) for line in (out / "build.log.jsonl").read_text("utf-8").splitlines()]
    assert log[-1]["built"] == 0 and log[-1]["dropped"] == 0
