from __future__ import annotations

import time
from pathlib import Path

import pytest

from instruct.api import load_recipe
from instruct.build import tables
from instruct.build.selection import select
from instruct.digest import digest_file
from instruct.errors import DataError
from tests.build.helpers import write_report


def test_a_reader_that_fails_waits_for_no_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 40):
        write_report(tmp_path, number, findings="Clear.")
    (report, *_) = sorted(tmp_path.rglob("*.xml"))
    report.write_text("<broken")
    digested: list[Path] = []

    def slowly(path: Path) -> str:
        digested.append(path)
        time.sleep(0.1)
        return digest_file(path)

    monkeypatch.setattr(tables, "digest_file", slowly)
    with pytest.raises(DataError, match=r"\.xml:1"):
        tables.SourceTables(select(load_recipe("openi"), tmp_path)).get("openi")
    assert len(digested) < 30
