"""README, followed to the letter."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Corpora

README = (REPOSITORY / "README.md").read_text("utf-8")


def section(title: str) -> str:
    """A section of the README."""
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def write_files(text: str, folder: Path) -> list[Path]:
    """Write every block that follows a file name."""
    written = []
    for name, block in re.findall(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)
        written.append(path)
    return written


def commands(text: str) -> list[str]:
    """The commands of a section's console blocks, without comments."""
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [line[2:].partition("  #")[0].strip() for line in lines]


def run(command: str, folder: Path, **environment: str) -> str:
    """Run a command of the README with this interpreter's tools."""
    words = shlex.split(command)
    if words[0] == "pip":
        words = [sys.executable, "-m", "pip", *words[1:]]
    elif words[0] == "cxr-instruct":
        words = [sys.executable, "-m", "instruct.cli", *words[1:]]
    done = subprocess.run(words, cwd=folder, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_add_a_task(corpora: Corpora, tmp_path: Path) -> None:
    text = section("Add a task")
    assert len(write_files(text, tmp_path)) == 3
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "data").symlink_to(corpora.root)
    outputs = [run(command, tmp_path) for command in commands(text)]
    assert len(outputs) == 3
    assert "all is well" in outputs[0]
    assert "[Code Assignment] [OpenI]" in outputs[1]
    assert "MeSH codes" in outputs[2]


def test_add_a_source(tmp_path: Path) -> None:
    text = section("Add a source")
    assert len(write_files(text, tmp_path)) == 4
    data = tmp_path / "data" / "clinic"
    data.mkdir(parents=True)
    (data / "studies.csv").write_text(
        "study,patient,split,image,findings\nA1,P1,train,a1.png,Clear lungs.\nA2,P2,test,a2.png,\n"
    )
    site = tmp_path / "site"
    install, *others = commands(text)
    pytest.importorskip("hatchling")
    run(f"{install} --no-deps --no-build-isolation -q --target {site}", tmp_path)
    outputs = [run(command, tmp_path, PYTHONPATH=str(site)) for command in others]
    assert str(data) in outputs[0]
    assert re.search(r"\[Findings Generation\] \[Clinic\] +\| 1 +\| 0 +\| 0 ", outputs[1])


def test_demo_table_is_current(tmp_path: Path) -> None:
    """The table in the README is the one that the demo prints."""
    run(f"cxr-instruct demo --out {tmp_path}", tmp_path)
    table = (tmp_path / "dataset" / "counts.md").read_text("utf-8").partition("## All the datasets\n\n")[2]
    printed = README.partition("<!-- demo table -->\n")[2].partition("<!-- end of demo table -->")[0]
    assert printed.strip() == table.strip()


def test_python_of_real_data(corpora: Corpora, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    text = section("Real data")
    out = tmp_path / "openi-instruct"
    run(f"cxr-instruct build openi --data-root {corpora.root} --out {out}", tmp_path)
    run(f"cxr-instruct counts {out} --compare published", tmp_path)
    run(f"cxr-instruct sources openi rexgradient --data-root {corpora.root}", tmp_path)
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    done = subprocess.run(
        [sys.executable, "-c", code[1].replace("/data/openi-instruct", str(out))], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
