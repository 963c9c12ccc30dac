from __future__ import annotations

import subprocess
import sys

import pytest

from instruct.errors import UsageError
from instruct.sources import get_source, source_names


def test_the_sources_of_the_main_job_are_there():
    assert {"openi", "rexgradient"} <= set(source_names())
    assert source_names() == sorted(source_names())
    assert get_source("openi") is get_source("openi")


def test_an_unknown_source_gets_a_suggestion():
    with pytest.raises(UsageError, match=r"no source is called 'opneni'\. Did you mean 'openi'\? Known: .*rexgradient"):
        get_source("opneni")
    with pytest.raises(UsageError, match=r"no source is called 'zzz'\. Known: "):
        get_source("zzz")


READER = """
from instruct.sources import Input, Source
INPUTS = (Input("a", ("a",), "Find it."),)
SOURCE = Source("pond", "Pond", "https://example.org", ("pond",), INPUTS, ("images",), {}, lambda f, o: {}, ())
WRONG = "no source"
"""
ASK = """
from instruct.errors import UsageError
from instruct.sources import get_source, source_names
assert "pond" in source_names()
print(get_source("pond").title)
try:
    get_source("wrong")
except UsageError as error:
    print(error)
"""


def test_another_distribution_adds_a_reader_by_entry_point(tmp_path):
    (tmp_path / "pond_reader.py").write_text(READER)
    metadata = tmp_path / "pond_reader-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: pond-reader\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[cxr_instruct.sources]\npond = pond_reader:SOURCE\nwrong = pond_reader:WRONG\n"
    )
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + ASK
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "Pond",
        "entry point 'wrong' of cxr_instruct.sources must be an instruct.sources.Source, not str",
    ]
