"""The time of ``cxr-instruct lint`` over everything shipped, beside that of importing the packages it needs.

    python benchmarks/bench_lint.py [--runs 11]

Each run is a process of its own. Python keeps the bytecode of the package, as after an installation.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

GOAL_SECONDS = 2
WAYS = {
    "lint": ["-m", "instruct.cli", "lint"],
    # pandas, since Arrow imports it with the first list that it makes a column of
    "imports alone": ["-c", "import click, duckdb, jinja2, numpy, pandas, pyarrow.compute, pydantic, yaml"],
}


def main() -> None:
    """Time both ways in turns; print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=11)
    runs = parser.parse_args().runs
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for run in range(runs + 1):
        for way, arguments in WAYS.items():
            begin = time.perf_counter()
            subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
            if run:  # the first one is there to write the bytecode
                seconds[way].append(time.perf_counter() - begin)
    for way, each in seconds.items():
        print(f"{way:14} {statistics.median(each):5.2f} s ({min(each):.2f}-{max(each):.2f})")
    lint, imports = (statistics.median(each) for each in seconds.values())
    print(f"lint takes {lint / imports:.1f} times as long as the imports; the goal is {GOAL_SECONDS} s")


if __name__ == "__main__":
    main()
