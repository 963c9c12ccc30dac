"""What the tests of the build share: the command line in this process, small corpora, looks at a dataset folder."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch
from xml.sax.saxutils import escape

import pyarrow as pa

from instruct.cli.main import main


@dataclass(frozen=True)
class Call:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


def call(*arguments: str | Path, check: int | None = 0) -> Call:
    """Run the function behind ``cxr-instruct`` in this process; ``check`` is the exit code it must end with."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["cxr-instruct", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    done = Call(code, out.getvalue(), err.getvalue())
    assert check is None or code == check, f"exit code {code}\n{done.out}\n{done.err}"
    return done


def write_report(
    data: Path, number: int, findings: str | None = "", impression: str | None = "", images: Iterable[str] = ()
) -> Path:
    """Write an OpenI report below a data root; a section that is None is left out of the file."""
    sections = {"COMPARISON": "None.", "INDICATION": "Cough.", "FINDINGS": findings, "IMPRESSION": impression}
    texts = "".join(
        f'<AbstractText Label="{label}">{escape(text)}</AbstractText>'
        for label, text in sections.items()
        if text is not None
    )
    pictures = "".join(f'<parentImage id="{name}"/>' for name in images)
    file = data / "openi" / "ecgen-radiology" / f"{number}.xml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        f'<eCitation><uId id="CXR{number}"/><MedlineCitation><Article><Abstract>{texts}</Abstract></Article>'
        f"</MedlineCitation><MeSH><major>normal</major></MeSH>{pictures}</eCitation>",
        "utf-8",
    )
    return file


def write_template(folder: Path, name: str, prompt: str, head: str = "", images: str = "none") -> Path:
    """Write a template of one variant that answers with the findings."""
    file = folder / "templates" / f"{name}.jinja"
    file.parent.mkdir(parents=True, exist_ok=True)
    shown = "" if images == "none" else "{{ images }}"
    file.write_text(
        f"{{% images {images} %}}\n{{% target findings %}}\n{head}\n{{% variant %}}\n{{% user %}}{shown}{prompt}"
        "{% enduser %}\n{% assistant %}{{ findings }}{% endassistant %}\n{% endvariant %}\n",
        "utf-8",
    )
    return file


def write_spec(folder: Path, tasks: dict[str, str], source: str = "openi") -> Path:
    """Write a spec of the dataset "Mine": name of each task, which is that of its template too, to its query."""
    lines = [f"source: {source}", "dataset: Mine", "access: open", "licence: none", "tasks:"]
    for name, query in tasks.items():
        lines += [f"  - task: {name}", f"    template: {name}", "    records: |", f"      {query}"]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "mine.yaml"
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file


TEXT_QUERY = (
    "SELECT study AS id, split, patient, [study] AS studies, findings, origin FROM studies WHERE findings <> ''"
)
IMAGE_QUERY = TEXT_QUERY.replace("findings, origin", "images, findings, origin") + " AND len(images) > 0"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a dataset folder that a build decides, by its name: all but the run log and the work folder."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != "build.log.jsonl" and ".build" not in file.relative_to(folder).parts
    }


def shards(folder: Path) -> dict[str, Path]:
    """The shards of a dataset folder, by ``config/split/number``."""
    found = {}
    for file in sorted(folder.glob("*/*/arrow/data-*.arrow")):
        config, split, _, name = file.relative_to(folder).parts
        found[f"{config}/{split}/{int(name.split('-')[1])}"] = file
    return found


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of every shard: what stays the same as long as a shard is not written anew."""
    return {name: (file.stat().st_ino, file.stat().st_mtime_ns) for name, file in shards(folder).items()}


def touched(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> set[str]:
    """Shards that were written, or are gone."""
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def rows(folder: Path, config: str = "*", split: str = "*") -> list[dict[str, Any]]:
    """The examples of a dataset folder, read with pyarrow alone."""
    found: list[dict[str, Any]] = []
    for file in sorted(folder.glob(f"{config}/{split}/arrow/data-*.arrow")):
        with pa.OSFile(str(file)) as source:
            found += pa.ipc.open_stream(source).read_all().to_pylist()
    return found
