"""``cxr-instruct demo-train``: the whole way once, in one command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.build.helpers import call

pytestmark = pytest.mark.slow


def test_the_whole_way(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    first = call("demo-train", "--out", out, "--studies", "40", "--steps", "40").out
    named = f"lora_tiny out={out}/train/run model.id={out}/train/model mixture.data=[{out}/dataset] plan.steps=40"
    for command in (f"demo --out {out} --studies 40", f"check {named}", f"train {named}", f"generate {named}"):
        assert f"cxr-instruct {command}" in first
    evaluating = f"evaluate {out}/train/run/predictions/test/predictions.jsonl --references {out}/dataset"
    assert f"cxr-instruct {evaluating}" in first
    assert "⟦" in first and "step 25/40" in first
    assert "evaluation loss, validation split" in first and "[REX-Gradient] test: bleu2" in first
    # The printed commands are what was run.
    assert "usable" in call("check", *named.split()).out
    assert "BLEU-2" in call(*evaluating.split(), "--metrics", "bleu2", "--out", tmp_path / "scores").out
    again = call("generate", *named.split(), "--max-new-tokens", "64").out
    assert again.startswith("0 examples answered")

    told = json.loads(call("demo-train", "--out", out, "--studies", "40", "--steps", "40", "--json").out)
    assert told["run"] == f"{out}/train/run" and told["seconds"] < 180
    assert told["loss"]["after"] < 0.8 * told["loss"]["before"]
    assert all(values.keys() == {"before", "after"} for part in told["scores"].values() for values in part.values())
    assert "holds corpora of 40 studies" in call("demo-train", "--out", out, "--studies", "50", check=2).err
