"""Speed and memory of the five-row REX-Gradient build, beside the usual ways and the floor, in one run.

    python benchmarks/bench_build.py [--studies 160000] [--runs 3] [--only ours,floor]

Every way is a process of its own; the ways take turns, so that a slow minute of the machine hits all of them. Times are
wall seconds of the whole process, medians over the runs; ratios are against ours with one worker.

- ours: ``cxr-instruct build rexgradient``, images by reference, with one and with two workers;
- floor: parse the same JSON with orjson and write the same Arrow bytes, nothing else;
- map: Hugging Face ``datasets``: ``Dataset.map`` with a Jinja render per row, ``save_to_disk``;
- pandas: a loop over rows, a Jinja render each, one Arrow file per task and split.

The last two make the same examples from the same templates: a variant by hash, both forms of the conversation, keys,
provenance, a look for every image, distinct counts. They do without digests, checks of the texts, quarantine, shards
and resuming.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Task to its name in the count table and to its template.
TASKS = {
    "findings": ("Findings Generation", "findings_generation"),
    "impression": ("Impression Generation", "impression_generation"),
    "progression_findings": ("Progression Findings Generation", "progression_findings_generation"),
    "progression_impression": ("Progression Impression Generation", "progression_impression_generation"),
    "summarization": ("Findings Summarization", "findings_summarization"),
}
CHANGE = (
    "new", "change", "unchanged", "prior", "stable", "interval", "previous", "again", "increased", "improve", "remain",
    "worse", "persistent", "remov", "decrease", "similar", "earlier", "recurrence", "redemonstrate",
)  # fmt: skip
RANKS = {"PA": 0, "POSTERO_ANTERIOR": 1, "AP": 2, "ANTERO_POSTERIOR": 3, "AP AXIAL": 4, "UNKNOWN": 6, "LATERAL": 8}


def text_of(section: str | None) -> str | None:
    """A section trimmed; None for every spelling of a missing one."""
    text = (section or "").strip()
    return None if text.lower() in ("", "none", "none.", "n/a", "unknown", "nan") else text


def read_studies(data: Path) -> list[dict[str, Any]]:
    """The studies as an engineer would read them in a script."""
    import orjson

    rows = []
    for name, split in (("train", "train"), ("valid", "validation"), ("test", "test")):
        text = (data / "rexgradient/metadata" / f"{name}_metadata_view_position.json").read_bytes()
        members = orjson.loads(text.replace(b": NaN", b": null"))
        for number, (key, record) in enumerate(members.items(), 1):
            views = [RANKS.get(view or "UNKNOWN", 5) for view in record["ImageViewPosition"]]
            image = record["ImagePath"][views.index(min(views))]
            row = {
                "id": key,
                "split": split,
                "patient": record["PatientID"],
                "image": str(data / "rexgradient" / image[3:]),
                "origin": f"metadata/{name}_metadata_view_position.json:{number}",
            }
            row |= {"date": str(record["StudyDate"]), "comparison": text_of(record["Comparison"]) is not None}
            row |= {"findings": text_of(record["Findings"]) or "", "impression": text_of(record["Impression"]) or ""}
            rows.append(row)
    rows.sort(key=lambda row: (row["split"], row["patient"], row["date"], row["comparison"], row["id"]))
    for before, row in zip([None, *rows], rows, strict=False):
        row["prior"] = before["image"] if before and before["patient"] == row["patient"] else None
    return rows


def wanted(task: str, row: dict[str, Any]) -> bool:
    """Whether a study makes a record of a task."""
    if task == "summarization":
        return bool(row["findings"] and row["impression"]) and not any(
            mark in row["impression"] for mark in ("a.m.", "p.m.", "___")
        )
    target = row["findings" if "findings" in task else "impression"]
    if task.startswith("progression"):
        return row["prior"] is not None and any(word in target.lower() for word in CHANGE)
    return bool(target)


def template_of(task: str) -> Any:
    """The template of a task, compiled; the usual ways call it for one row at a time."""
    from instruct.prompts.source import find_template
    from instruct.prompts.template import compile_template

    return compile_template(find_template(TASKS[task][1]))


TURNS = re.compile("([\x01\x02\x03])([^\x01\x02\x03\x05]*)")
PARTS = re.compile("\x04..|[^\x04]+")
ROLES = {"\x01": ("system", "system"), "\x02": ("user", "human"), "\x03": ("assistant", "gpt")}


def make_example(task: str, template: Any, row: dict[str, Any], seen: dict[str, bool]) -> dict[str, Any]:
    """One example with all the columns of our build: a Jinja render of the variant that the study's hash picks."""
    images = [] if task == "summarization" else [row["image"]]
    if task.startswith("progression"):
        images = [row["prior"], row["image"]]
    for image in images:
        if image not in seen:
            seen[image] = os.path.isfile(image)  # noqa: PTH113 - the quick way, as in ours
    variant = int(hashlib.sha256(row["id"].encode()).hexdigest()[:8], 16) % len(template.variants)
    text = template.render([variant], [len(images)], {name: [row[name]] for name in template.columns})
    messages, conversations = [], []
    for mark, said in TURNS.findall(text):
        role, sender = ROLES[mark]
        parts = [
            {"type": "image", "text": None} if part[0] == "\x04" else {"type": "text", "text": part}
            for part in PARTS.findall(said)
        ]
        messages.append({"role": role, "content": parts})
        conversations.append({"from": sender, "value": "".join(part["text"] or "<image>" for part in parts)})
    return {
        "id": row["id"],
        "task": TASKS[task][0],
        "dataset": "REX-Gradient",
        "images": [{"bytes": None, "path": image} for image in images],
        "messages": messages,
        "conversations": conversations,
        "keys": {
            "record": row["id"],
            "patient": "rexgradient/" + row["patient"],
            "studies": ["rexgradient/" + row["id"]],
            "images": ["rexgradient/" + image for image in images],
        },
        "provenance": {"origin": row["origin"], "template": TASKS[task][1], "variant": variant},
    }


def distinct(keys: Iterable[dict[str, Any]]) -> tuple[int, int]:
    """Distinct images and studies, for the count table."""
    images, studies = set(), set()
    for key in keys:
        images.update(key["images"])
        studies.update(key["studies"])
    return len(images), len(studies)


def run_map(data: Path, out: Path) -> None:
    """The way of ``datasets``."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    studies = Dataset.from_list(read_studies(data))
    seen: dict[str, bool] = {}
    for task in TASKS:
        template = template_of(task)
        for split in ("train", "validation", "test"):
            rows = studies.filter(lambda row, task=task, split=split: row["split"] == split and wanted(task, row))
            examples = rows.map(
                lambda row, task=task, template=template: make_example(task, template, row, seen),
                remove_columns=rows.column_names,
            )
            examples.save_to_disk(out / task / split)
            print(task, split, len(examples), *distinct(examples["keys"]))


def run_pandas(data: Path, out: Path) -> None:
    """The way of a script: a data frame, and a loop over its rows."""
    import pandas as pd
    import pyarrow as pa

    studies = pd.DataFrame(read_studies(data)).replace({float("nan"): None})
    seen: dict[str, bool] = {}
    for task in TASKS:
        template = template_of(task)
        for split in ("train", "validation", "test"):
            examples = []
            for _, row in studies[studies["split"] == split].iterrows():
                study = row.to_dict()
                if wanted(task, study):
                    examples.append(make_example(task, template, study, seen))
            print(task, split, len(examples), *distinct(example["keys"] for example in examples))
            table = pa.Table.from_pylist(examples)
            (out / task).mkdir(parents=True, exist_ok=True)
            with (
                pa.OSFile(str(out / task / f"{split}.arrow"), "wb") as file,
                pa.ipc.new_stream(file, table.schema) as writer,
            ):
                writer.write_table(table)


def run_floor(data: Path, out: Path) -> None:
    """Parse and write: the bytes are those of our build beside ``out``."""
    import orjson
    import pyarrow as pa

    for path in sorted((data / "rexgradient/metadata").glob("*_view_position.json")):
        orjson.loads(path.read_bytes().replace(b": NaN", b": null"))
    out.mkdir(parents=True)
    for number, shard in enumerate(sorted((out.parent / "ours").glob("*/*/arrow/*.arrow"))):
        with pa.memory_map(str(shard)) as file:
            table = pa.ipc.open_stream(file).read_all()
            with pa.OSFile(str(out / f"{number}.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)


def command(way: str, data: Path, work: Path) -> list[str]:
    """The process of a way."""
    if way.startswith("ours"):
        out = "ours" if way == "ours" else way.replace(" ", "-")
        tool = str(Path(sys.executable).with_name("cxr-instruct"))
        workers = "2" if "2" in way else "1"
        return [tool, "build", "rexgradient", "--data-root", str(data), "--out", str(work / out), "--workers", workers]
    return [sys.executable, __file__, "--way", way, "--data", str(data), "--work", str(work)]


def measure(way: str, data: Path, work: Path) -> tuple[float, float]:
    """Wall seconds and peak memory (MiB, largest single process) of a way."""
    shutil.rmtree(work / ("ours" if way == "ours" else way.replace(" ", "-")), ignore_errors=True)
    os.sync()  # what the way before has left to write must not fall on this one
    # With the bytecode of the package, as after an installation.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    with subprocess.Popen(
        command(way, data, work), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{way} failed with {process.returncode}: {' '.join(command(way, data, work))}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    """Run the comparison, or one way of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=160_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="ours,ours 2 workers,floor,map,pandas")
    parser.add_argument("--work", type=Path, default=Path("/tmp/cxr-instruct-bench"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--way")
    options = parser.parse_args()
    if options.way:
        {"map": run_map, "pandas": run_pandas, "floor": run_floor}[options.way](
            options.data, options.work / options.way
        )
        return
    data = options.data or options.work / f"data-{options.studies}"
    if not data.is_dir():
        # A process of its own: none that this one starts is told to take less memory than this one holds then.
        tool = str(Path(sys.executable).with_name("cxr-instruct"))
        synth = [tool, "synth", "rexgradient", "--out", str(data), "--studies", str(options.studies), "--no-images"]
        subprocess.run(synth, check=True, stdout=subprocess.DEVNULL)
    ways = options.only.split(",")
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(options.runs):
        for way in ways:
            # More runs of the slow ways would take most of an hour; of three the median is no freak.
            if way not in ("map", "pandas") or len(taken[way]) < 3:
                taken[way].append(measure(way, data, options.work))
    ours = statistics.median(seconds for seconds, _ in taken["ours"])
    print(f"{options.studies:,} studies, five rows; {os.cpu_count()} cores; Python {sys.version.split()[0]}")
    print("| way | wall s (median; min-max) | to ours | peak MiB |")
    print("|:--|--:|--:|--:|")
    for way, runs in taken.items():
        seconds = [wall for wall, _ in runs]
        median = statistics.median(seconds)
        spread = f"{min(seconds):.1f}-{max(seconds):.1f}"
        print(f"| {way} | {median:.1f} ({spread}) | {median / ours:.2f} | {max(memory for _, memory in runs):,.0f} |")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
