from __future__ import annotations

from pathlib import Path

import pytest

from instruct.api import load_recipe
from instruct.build import tables
from instruct.build.selection import select
from instruct.digest import digest_file
from instruct.errors import DataError
from tests.build.helpers import write_report


def test_a_reader_that_fails_waits_for_no_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 60):
        write_report(tmp_path, number, findings="Clear.")
    (report, *_) = sorted(tmp_path.rglob("*.xml"))
    report.write_text("<broken")
    reading = select(load_recipe("openi"), tmp_path)
    digested: list[Path] = []

    def digest(path: Path) -> str:
        while not failed and len(digested) == 1:  # as slow as the reader
            pass
        digested.append(path)
        return digest_file(path)

    failed: list[bool] = []
    of = tables.get_source("openi").__class__.tables_of

    def tables_of(source, files, options):
        try:
            return of(source, files, options)
        finally:
            failed.append(True)

    monkeypatch.setattr("instruct.sources.base.Source.tables_of", tables_of)
    monkeypatch.setattr(tables, "digest_file", digest)
    with pytest.raises(DataError, match=r"broken|malformed|cannot"):
        tables.SourceTables(reading).get("openi")
    assert len(digested) < 59
