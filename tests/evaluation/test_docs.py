"""The page of this stage: its files are written and its commands and its Python are run as printed."""

import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from instruct.cli.main import cli
from instruct.evaluation.catalogue import METRICS

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"


def test_every_command_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    files = re.findall(r"^`(\S+\.jsonl)`:\n\n```jsonl\n(.*?)```", page, re.MULTILINE | re.DOTALL)
    assert len(files) == 4
    for name, text in files:
        Path(name).write_text(text, encoding="utf-8")
    commands = re.findall(r"^\$ cxr-instruct (.*)$", page, re.MULTILINE)
    assert len(commands) == 9
    for command in commands:
        outcome = CliRunner().invoke(cli, shlex.split(command), catch_exceptions=False)
        assert outcome.exit_code == 0, command
        assert outcome.stdout.strip()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(code, {})


def test_the_page_names_every_metric():
    page = PAGE.read_text(encoding="utf-8")
    shorthand = {"bleu2", "bleu3", "radgraph_partial", "radgraph_complete", "f1chexbert"}
    missing = [name for name in METRICS if f"`{name}`" not in page and name not in shorthand]
    assert not missing
