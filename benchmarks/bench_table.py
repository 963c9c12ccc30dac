"""The whole published table at the size of the releases: time, examples per second and peak memory of one build.

    python benchmarks/bench_table.py [--shares 0.25,1] [--workers 1,2] [--work DIR] [--keep]

Corpora of 23 sources are made up first, without images (VinDr-CXR and Object-CXR with theirs: their boxes need the
sizes of them; VinDr-PCXR is left out: its published rows are zeros), which takes minutes and gigabytes and is not
timed. Then ``cxr-instruct build all``, images by reference, in a process of its own for each share and number of
workers. Every corpus has the size of its release times the share; the sets that are about MIMIC-CXR annotate more of
their made-up corpus than the real ones do of theirs.

Memory is sampled ten times a second: the sum over the build's processes of their private and shared pages, without
the pages of files that they map, which the system takes back when it needs them; and the largest resident size of one
process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Studies of each release, or what its made-up corpus counts instead.
SIZES = {
    "chestxray14": 112_120, "chexpert": 187_825, "brax": 24_959, "padchest": 110_525, "rsna": 26_684, "siim": 12_047,
    "openi": 3_955, "mimic_cxr": 227_835, "cxr_lt": 227_835, "ms_cxr": 227_835, "ms_cxr_t": 227_835,
    "mimic_cxr_vqa": 227_835, "mimic_diff_vqa": 227_835, "mimic_nle": 227_835, "rexgradient": 160_000,
    "rad_restruct": 3_955, "radqa": 1_009, "rexval": 227_835, "radnli": 960, "radgraph": 227_835, "covidx_cxr3": 84_818,
    "vindr_cxr": 18_000, "object_cxr": 10_000,
}  # fmt: skip
WITH_IMAGES = {"vindr_cxr", "object_cxr"}


def make(data: Path, share: float) -> None:
    """Write the corpora that are not there yet."""
    from instruct.synth import write

    for name, studies in SIZES.items():
        done = data / f".{name}"
        if not done.exists():
            start = time.perf_counter()
            write(name, data / name, studies=max(20, round(studies * share)), images=name in WITH_IMAGES)
            done.touch()
            print(f"{name}: written in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)


@dataclass
class Watched:
    """What a command took.

    Attributes:
        wall: seconds.
        cpu: seconds of its processes, in the system too.
        own: largest sum of the processes' own pages, MiB.
        resident: largest resident size of one process with mapped files, MiB.
        said: what it wrote, as JSON.
    """

    wall: float
    cpu: float
    own: float
    resident: float
    said: dict[str, Any]


def watch(command: list[str]) -> Watched:
    """Run a command and watch it and all below it."""
    own = resident = 0.0
    start = time.perf_counter()
    with (
        tempfile.TemporaryFile() as output,  # a pipe would fill up
        subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL) as process,
    ):
        while not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            held = [memory(member) for member in family(process.pid)]
            own = max(own, sum(pages for pages, _ in held))
            # Not what `wait4` tells: that is no less than what this process held when it started the other.
            resident = max(resident, *(largest for _, largest in held))
            time.sleep(0.1)
        wall = time.perf_counter() - start
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = json.loads(output.read())
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: {said['error']}")
    return Watched(wall, usage.ru_utime + usage.ru_stime, own, resident, said)


def build(data: Path, out: Path, workers: int) -> tuple[Watched, int]:
    """Build; what it took, and the examples it wrote."""
    shutil.rmtree(out, ignore_errors=True)
    tool = str(Path(sys.executable).with_name("cxr-instruct"))
    command = [tool, "build", "all", "--data-root", str(data), "--out", str(out), "--workers", str(workers), "--json"]
    found = watch(command)
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    shards = [shard for task in manifest["tasks"] for split in task["splits"].values() for shard in split["shards"]]
    return found, sum(shard["examples"] for shard in shards)


def family(process: int) -> list[int]:
    """A process and all below it."""
    found = [process]
    for parent in found:
        try:
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found += map(int, children.read_text().split())
        except OSError:
            continue
    return found


def memory(process: int) -> tuple[float, float]:
    """MiB of a process that are no pages of files, and its largest resident size so far."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0, 0.0
    fields = dict(line.split(":", 1) for line in status.splitlines() if line.startswith(("Rss", "VmHWM")))
    own, shared, largest = (
        int(fields[name].split()[0]) / 1024 if name in fields else 0.0 for name in ("RssAnon", "RssShmem", "VmHWM")
    )
    return own + shared, largest


def main() -> None:
    """Make the corpora, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", default="0.25,1")
    parser.add_argument("--workers", default="2")
    parser.add_argument("--work", type=Path, default=Path("/tmp/cxr-instruct-bench-table"))
    parser.add_argument("--keep", action="store_true", help="leave the corpora and the last build there")
    options = parser.parse_args()
    shares = options.shares.split(",")
    for share in shares:
        make(options.work / f"data-{share}", float(share))
    print(f"{os.cpu_count()} cores; Python {sys.version.split()[0]}; load {os.getloadavg()[0]:.1f} before")
    print("| share | workers | examples | wall s | CPU s | examples/s | peak MiB | largest resident MiB |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    for share in shares:
        for workers in map(int, options.workers.split(",")):
            found, examples = build(options.work / f"data-{share}", options.work / "out", workers)
            print(
                f"| {share} | {workers} | {examples:,} | {found.wall:.0f} | {found.cpu:.0f} |"
                f" {examples / found.wall:,.0f} | {found.own:,.0f} | {found.resident:,.0f} |",
                flush=True,
            )
    if not options.keep:
        shutil.rmtree(options.work)


if __name__ == "__main__":
    main()
