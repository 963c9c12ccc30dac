"""Speed and memory of the five-row REX-Gradient build, beside the usual ways and the floor, in one run.

    python benchmarks/bench_build.py [--studies 160000] [--runs 3] [--only ours,floor]

Every way is a process of its own; the ways take turns, so that a slow minute of the machine hits all of them. Times are
wall seconds of the whole process, medians over the runs; ratios are against ours with one worker.

- ours: ``cxr-instruct build rexgradient``, images by reference, with one and with two workers;
- floor: parse the same JSON with orjson and write the same Arrow bytes, nothing else;
- map: Hugging Face ``datasets``: ``Dataset.map`` with a Jinja render per row, ``save_to_disk``;
- pandas: a loop over rows, a Jinja render each, one Arrow file per task and split.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TASKS = {
    "findings": "Write the findings section of the radiology report for this chest X-ray.",
    "impression": "Write the impression section of the radiology report for this chest X-ray.",
    "progression_findings": "Compare the current chest X-ray with the prior one and write the findings section.",
    "progression_impression": "Compare the current chest X-ray with the prior one and write the impression section.",
    "summarization": "Summarize these findings into an impression:\n{{ findings }}",
}
CHANGE = (
    "new", "change", "unchanged", "prior", "stable", "interval", "previous", "again", "increased", "improve", "remain",
    "worse", "persistent", "remov", "decrease", "similar", "earlier", "recurrence", "redemonstrate",
)  # fmt: skip
RANKS = {"PA": 0, "POSTERO_ANTERIOR": 1, "AP": 2, "ANTERO_POSTERIOR": 3, "AP AXIAL": 4, "UNKNOWN": 6, "LATERAL": 8}


def read_studies(data: Path) -> list[dict[str, Any]]:
    """The studies as an engineer would read them in a script."""
    import orjson

    rows = []
    for name, split in (("train", "train"), ("valid", "validation"), ("test", "test")):
        text = (data / "rexgradient/metadata" / f"{name}_metadata_view_position.json").read_bytes()
        for key, record in orjson.loads(text.replace(b": NaN", b": null")).items():
            views = [RANKS.get(view or "UNKNOWN", 5) for view in record["ImageViewPosition"]]
            image = record["ImagePath"][views.index(min(views))]
            row = {
                "id": key,
                "split": split,
                "patient": record["PatientID"],
                "image": str(data / "rexgradient" / image[3:]),
            }
            row |= {"date": str(record["StudyDate"]), "comparison": record["Comparison"] not in (None, "None", "None.")}
            row |= {"findings": record["Findings"] or "", "impression": record["Impression"] or ""}
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


def make_example(task: str, template: Any, row: dict[str, Any]) -> dict[str, Any]:
    """One example, with a Jinja render of its prompt."""
    images = [] if task == "summarization" else [row["image"]]
    if task.startswith("progression"):
        images = [row["prior"], row["image"]]
    prompt = template.render(**row)
    answer = row["findings"] if task.endswith("findings") else row["impression"]
    parts = [{"type": "image", "text": None} for _ in images] + [{"type": "text", "text": prompt}]
    return {
        "images": images,
        "messages": [
            {"role": "user", "content": parts},
            {"role": "assistant", "content": [{"type": "text", "text": answer}]},
        ],
        "conversations": [
            {"from": "human", "value": "<image>" * len(images) + prompt},
            {"from": "gpt", "value": answer},
        ],
    }


def run_map(data: Path, out: Path) -> None:
    """The way of ``datasets``."""
    from datasets import Dataset, disable_progress_bars
    from jinja2 import Template

    disable_progress_bars()
    studies = Dataset.from_list(read_studies(data))
    for task, text in TASKS.items():
        template = Template(text)
        for split in ("train", "validation", "test"):
            rows = studies.filter(lambda row, task=task, split=split: row["split"] == split and wanted(task, row))
            examples = rows.map(
                lambda row, task=task, template=template: make_example(task, template, row),
                remove_columns=[name for name in rows.column_names if name != "id"],
            )
            examples.save_to_disk(out / task / split)


def run_pandas(data: Path, out: Path) -> None:
    """The way of a script: a data frame, and a loop over its rows."""
    import pandas as pd
    import pyarrow as pa
    from jinja2 import Template

    studies = pd.DataFrame(read_studies(data)).replace({float("nan"): None})
    for task, text in TASKS.items():
        template = Template(text)
        for split in ("train", "validation", "test"):
            examples = []
            for _, row in studies[studies["split"] == split].iterrows():
                study = row.to_dict()
                if wanted(task, study):
                    examples.append({"id": study["id"], **make_example(task, template, study)})
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
    start = time.perf_counter()
    with subprocess.Popen(command(way, data, work), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
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
        from instruct.synth import write

        write("rexgradient", data / "rexgradient", studies=options.studies, images=False)
    ways = options.only.split(",")
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(options.runs):
        for way in ways:
            # The slow ways would take most of an hour; one run of them is enough for a ratio of twenty.
            if way not in ("map", "pandas") or not taken[way]:
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
