"""Every row of the published table, built from made-up corpora by one command."""

from __future__ import annotations

import json
from pathlib import Path

from instruct.reports.count_table import TOTAL, published
from tests.conftest import run_cli


def test_the_demo_of_everything_fills_every_published_row(tmp_path: Path) -> None:
    done = run_cli("demo", "--all", "--studies", "24", "--out", tmp_path, "--json")
    rows = json.loads(done.stdout)["counts"]["rows"]
    assert list(rows) == [name for name in published() if name != TOTAL]
    empty = [name for name, row in rows.items() if not row["train"] + row["val"] + row["test"]]
    assert empty == []
