"""Speed of every reader beside the plain parse of its files, in one run.

    python benchmarks/bench_readers.py [--studies N] [--runs 5] [--only openi,siim]

The plain parse is what any reader has to do at least: pyarrow's CSV reader with its own guess of types (and whole
numbers of SIIM's run lengths and Object-CXR's objects, which it would leave as texts), orjson, lxml, the texts of an
archive; nothing is made of the result. Both are timed in this process, in turns, on a made-up corpus;
the ratio is plain parse over reader, medians of processor seconds, so 1 would be as fast as the parse alone.
Corpora have 20,000 studies, or as many as the release has, or more where files would be below a megabyte or two: what a
reader does once, whatever the size of the files, would weigh there. ``--studies`` sets one size for all.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tarfile
import time
import zipfile
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from lxml import etree
from pyarrow import csv

from instruct.sources import Files, get_source
from instruct.synth import SOURCES, write

SIZES = {
    "chestxray14": 112_120, "siim": 10_675, "openi": 3_955, "rad_restruct": 3_597, "covidx_cxr3": 84_818,
    "vindr_cxr": 18_000, "vindr_pcxr": 9_125, "object_cxr": 60_000,
}  # fmt: skip
"""Studies (or images) of a corpus, where they are not the 20,000 of all others."""


def parse(path: Path) -> None:
    """The plain parse of one file."""
    name = path.name.removesuffix(".gz")
    if name.endswith((".csv", ".tsv")):
        table = csv.read_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True))
        for name in table.column_names:
            if name.strip() in ("EncodedPixels", "annotation"):  # SIIM's header has a blank
                parse_numbers(table[name])
    elif name.endswith(".json"):
        content = path.read_bytes()
        try:
            orjson.loads(content.replace(b": NaN", b": null"))
        except orjson.JSONDecodeError:
            if b"\n{" in content:
                parse_lines(content)
            else:
                json.loads(content)
    elif name.endswith(".jsonl"):
        parse_lines(path.read_bytes())
    elif name.endswith(".xml"):
        etree.fromstring(path.read_bytes())
    elif name.endswith(".tgz"):
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member)
                if content is not None:
                    etree.parse(io.BytesIO(content.read()))
    elif name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                archive.read(member)
    elif name.endswith(".txt"):
        csv.read_csv(
            path,
            read_options=csv.ReadOptions(autogenerate_column_names=True),
            parse_options=csv.ParseOptions(delimiter=" "),
        )
    else:
        path.read_bytes()


def parse_numbers(texts: pa.ChunkedArray) -> None:
    """The whole numbers of texts that are lists of them."""
    words = pc.ascii_split_whitespace(pc.replace_substring(texts, ";", " ")).combine_chunks().flatten()
    words.filter(pc.ascii_is_decimal(words)).cast(pa.int64())


def parse_lines(content: bytes) -> None:
    """JSON lines."""
    for line in content.splitlines():
        if line:
            orjson.loads(line)


def measure(name: str, files: Files, runs: int) -> tuple[float, float]:
    """Median seconds of the processor for the plain parse and for the reader."""
    source = get_source(name)
    plain, read = [], []
    for _ in range(runs):
        start = time.process_time()
        for path in files.all():
            parse(path)
        middle = time.process_time()
        source.tables_of(files, source.options())
        plain.append(middle - start)
        read.append(time.process_time() - middle)
    return statistics.median(plain), statistics.median(read)


def main() -> None:
    """Measure every source that has a made-up corpus."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only")
    parser.add_argument("--work", type=Path, default=Path("/tmp/cxr-instruct-bench"))
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(SOURCES)
    print("| source | files | MB | plain parse s | reader s | plain / reader |")
    print("|:--|--:|--:|--:|--:|--:|")
    for name in names:
        studies = options.studies or SIZES.get(name, 20_000)
        root = options.work / f"readers-{studies}"
        if not (root / name).is_dir():
            write(name, root / name, studies=studies, images=False)
        files = get_source(name).find(root / name)
        size = sum(path.stat().st_size for path in files.all()) / 1e6
        plain, read = measure(name, files, options.runs)
        row = f"| {name} | {len(files.all())} | {size:.1f} | {plain:.3f} | {read:.3f} | {plain / read:.2f} |"
        print(row, flush=True)


if __name__ == "__main__":
    main()
