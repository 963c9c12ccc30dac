"""What commands print on a terminal, into a file, and as JSON."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from instruct.api import build_dataset, load_recipe
from instruct.reports.markdown import Table
from tests.build.helpers import call
from tests.conftest import Corpora

ROW = "findings_generation-rex_gradient"


@pytest.fixture(scope="module")
def built(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("terminal") / "out"
    build_dataset(load_recipe("rexgradient"), out, data_root=corpora.root)
    return out


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What a command writes to a terminal of 180 columns."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "instruct.cli", *arguments]
    settings = {"TERM": "xterm", "COLUMNS": "180", "PYTHONIOENCODING": "utf-8", **environment}
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=os.environ | settings) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                block = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not block:
                break
            seen += block
        assert process.stderr is not None
        assert process.wait() == 0, process.stderr.read().decode()
    os.close(ours)
    return seen.decode()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("counts",), ["Count table", "[Findings Generation] [REX-Gradient]", "(train)"]),
        (("stats", "--plots", "none"), ["Age and sex", "ReXGradient-160K, Table 1", "238,968"]),
        (("show", "--task", ROW, "--split", "test"), ["[Findings Generation] [REX-Gradient] test: ", "assistant", "╭"]),
        (("audit",), ["0 leaks", "0 accepted.", "Looked for: "]),
    ],
)
def test_a_terminal_gets_tables(built: Path, arguments: tuple[str, ...], expected: list[str]) -> None:
    command, *options = arguments
    text = on_a_terminal(command, str(built), *options)
    for part in expected:
        assert part in text
    assert "|:--" not in text
    assert "\x1b[" in text


def test_the_count_table_fits_a_laptop(built: Path) -> None:
    """Heads of numbers are broken rather than the names of rows."""
    lines = on_a_terminal("counts", str(built), COLUMNS="150", NO_COLOR="1").splitlines()
    (row,) = [line for line in lines if "[Progression Impression Generation] [REX-Gradient]" in line]
    assert len(row.split("]")[-1].split()) == 9 and max(map(len, lines)) <= 150


def test_who_wants_no_colours_gets_none(built: Path) -> None:
    text = on_a_terminal("counts", str(built), NO_COLOR="1")
    assert "Count table" in text and not any(f"\x1b[3{colour}m" in text for colour in range(1, 8))


@pytest.mark.parametrize("arguments", [("counts",), ("stats", "--plots", "none"), ("show",), ("audit",)])
def test_a_file_gets_no_colours(built: Path, arguments: tuple[str, ...]) -> None:
    command, *options = arguments
    text = call(command, built, *options).out
    assert text and "\x1b" not in text


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("counts",), "rows"),
        (("stats", "--plots", "none"), "sources"),
        (("show", "--task", ROW), "examples"),
        (("audit",), "findings"),
        (("card", "--plots", "none"), "files"),
    ],
)
def test_a_program_gets_one_json_document(built: Path, arguments: tuple[str, ...], key: str) -> None:
    command, *options = arguments
    assert key in json.loads(call(command, built, *options, "--json").out)


def test_markdown_can_be_had_on_a_terminal_too(built: Path) -> None:
    assert "|:--" in on_a_terminal("counts", str(built), "--format", "markdown")


def test_a_hostile_value_cannot_steer_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from instruct.cli import terminal

    monkeypatch.setattr(terminal, "on_terminal", lambda: True)
    terminal.print_tables([Table("t", ["name"], [["\x1b]0;title\x07[bold]x[/bold]\u202e"]])])
    printed = capsys.readouterr().out
    assert "\x1b]0" not in printed and "\x07" not in printed and "\u202e" not in printed
    assert "[bold]x[/bold]" in printed
