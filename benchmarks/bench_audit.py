"""Time and memory of the leakage audit: keys alone, and report texts.

    python benchmarks/bench_audit.py [--keys 5000000] [--reports 500000] [--only keys,texts]
    python benchmarks/bench_audit.py --recall OUT --dataset OpenI

- keys: a made-up build of eight datasets in three splits that share a part of their studies, with as many distinct
  patient, study and image keys as asked for; shards hold nothing but keys.
- texts: ``[Findings Generation] [REX-Gradient]`` of a made-up corpus with as many reports as asked for, built and then
  audited by key and by text.

Each is a process of its own: wall seconds and its peak memory. The second form asks how many copied reports the text
check finds: up to 200 answers of a dataset of a build, of 30 words or more, stand a second time in another split, with
some of their words replaced or their sentences in another order; and how many pairs it finds between two halves of the
dataset, without any copy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DATASETS, SPLITS = 8, ("train", "val", "test")


def make_keys(folder: Path, keys: int) -> None:
    """Write a build whose datasets hold one patient for four studies, and two images of each study."""
    import pyarrow as pa

    # Every study has 1/4 patient, itself and two images; datasets share a tenth of theirs with the next one.
    studies = keys * 4 // 13
    each = studies // DATASETS
    tasks: list[dict[str, Any]] = []
    for number in range(DATASETS):
        first = number * each - (each // 10 if number else 0)
        found = range(first, (number + 1) * each)
        parts = {"train": found[: len(found) * 8 // 10], "val": found[len(found) * 8 // 10 : len(found) * 9 // 10]}
        parts["test"] = found[len(found) * 9 // 10 :]
        splits = {}
        for split, part in parts.items():
            file = folder / f"{number}-{split}.arrow"
            rows = list(part)
            patients = [f"bench/p{10_000_000 + row // 4}" for row in rows]
            names = [f"bench/s{50_000_000 + row}" for row in rows]
            images = [[f"{p}/{s[6:]}/{row:08x}-{view:08x}-{row * 7919:08x}.jpg" for view in (0, 1)]
                      for p, s, row in zip(patients, names, rows, strict=True)]  # fmt: skip
            table = pa.StructArray.from_arrays(
                [pa.array(names), pa.array(patients), pa.array([[name] for name in names]), pa.array(images)],
                names=["record", "patient", "studies", "images"],
            )
            with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, pa.schema([("keys", table.type)])) as out:
                for start in range(0, len(table), 20_000):
                    out.write_batch(pa.record_batch([table.slice(start, 20_000)], ["keys"]))
            splits[split] = {"shards": [{"file": file.name, "sha256": ""}]}
        tasks.append(
            {
                "config": str(number),
                "name": f"[Keys] [D{number}]",
                "dataset": f"D{number}",
                "source": f"d{number}",
                "splits": splits,
            }
        )
    sources: dict[str, Any] = {f"d{number}": {"upstream": []} for number in range(DATASETS)}
    manifest = {"tasks": tasks, "sources": sources, "recipe": {}, "image_roots": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def make_texts(folder: Path, reports: int) -> None:
    """Write a corpus and build its findings row."""
    from instruct.api import build_dataset, load_recipe
    from instruct.synth import write

    write("rexgradient", folder / "data" / "rexgradient", studies=reports, images=False)
    recipe = load_recipe("rexgradient", ["tasks=[findings_generation-rex_gradient]", "audit=off"])
    build_dataset(recipe, folder / "out", data_root=folder / "data")


def run(what: str, folder: Path) -> None:
    """Audit, and print what was looked at and found."""
    from instruct.audit.audit import audit
    from instruct.audit.overlaps import KeyIndex
    from instruct.audit.shards import KINDS, groups_of

    folder = folder if what == "keys" else folder / "out"
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    start = time.perf_counter()
    result = audit(folder, manifest, texts=what == "texts")
    seconds = time.perf_counter() - start
    with KeyIndex(groups_of(folder, manifest["tasks"])) as index:
        index.load()
        keys = sum(index.union(kind, split) for kind in KINDS for split in SPLITS)
    print(json.dumps({"seconds": seconds, "keys": keys, "leaks": len(result.findings)}))


def recall(folder: Path, dataset: str) -> None:
    """Print how many copies are found, and how many pairs without a copy."""
    import random
    import re

    import pyarrow as pa

    from instruct.audit.shards import Group, groups_of
    from instruct.audit.texts import Corpus
    from instruct.audit.words import Texts, report_texts

    groups = groups_of(folder, json.loads((folder / "manifest.json").read_text("utf-8"))["tasks"])
    answers: dict[str, str] = {}
    for group in groups:
        for found in report_texts(group) if group.dataset == dataset else ():
            for text, study, prompt in zip(
                *(c.to_pylist() for c in (found.texts, found.studies, found.variants)), strict=True
            ):
                if prompt is None:
                    answers.setdefault(study, text)

    def pairs(parts: list[dict[str, str]]) -> set[frozenset[str]]:
        """Studies found alike; the parts are those of different splits."""
        corpus = Corpus([Group(str(place), "", SPLITS[place], {}) for place in range(len(parts))])
        for place, held in enumerate(parts):
            nobody = pa.nulls(len(held), pa.string())
            corpus.add(place, Texts(pa.array(held.values(), pa.string()), pa.array(held, pa.string()), nobody, nobody))
        return {frozenset(pair.keys) for pair in corpus.alike()}

    def shuffled(text: str, draw: random.Random) -> str:
        sentences = re.split(r"(?<=\.)\s+", text)
        draw.shuffle(sentences)
        return " ".join(sentences)

    def reworded(share: float) -> Callable[[str, random.Random], str]:
        return lambda text, draw: " ".join("other" if draw.random() < share else word for word in text.split())

    names = sorted(answers)
    random.Random(0).shuffle(names)
    chosen = [study for study in names if len(answers[study].split()) >= 30][:200]
    for way, change in (
        *((f"{share:.0%} of the words replaced", reworded(share)) for share in (0, 0.05, 0.1)),
        ("sentences in another order", shuffled),
    ):
        draw = random.Random(1)
        copies = {f"copy/{study}": change(answers[study], draw) for study in chosen}
        alike = pairs([answers, copies])
        hits = sum(frozenset((study, f"copy/{study}")) in alike for study in chosen)
        print(f"{dataset}: {way}: {hits} of {len(chosen)} found")
    half = len(names) // 2
    chance = pairs([{name: answers[name] for name in part} for part in (names[:half], names[half:])])
    print(f"{dataset}: two halves of {len(names):,} reports: {len(chance)} pairs without a copy")


def main() -> None:
    """Make what is missing, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=5_000_000)
    parser.add_argument("--reports", type=int, default=500_000)
    parser.add_argument("--only", default="keys,texts")
    parser.add_argument("--work", type=Path, default=Path("/tmp/cxr-instruct-bench-audit"))
    parser.add_argument("--run", choices=["keys", "texts"])
    parser.add_argument("--recall", type=Path, metavar="OUT")
    parser.add_argument("--dataset")
    options = parser.parse_args()
    if options.recall:
        recall(options.recall, options.dataset)
        return
    if options.run:
        run(options.run, options.work)
        return
    print("| audit | of | wall s | peak MiB | leaks |\n|:--|--:|--:|--:|--:|")
    for what in options.only.split(","):
        size = options.keys if what == "keys" else options.reports
        folder = options.work / f"{what}-{size}"
        if not folder.is_dir():
            folder.mkdir(parents=True)
            (make_keys if what == "keys" else make_texts)(folder, size)
        command = [sys.executable, __file__, "--run", what, "--work", str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = json.loads(process.stdout.read())
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        of = f"{said['keys']:,} keys" if what == "keys" else f"{size:,} reports"
        print(
            f"| {what} | {of} | {said['seconds']:.1f} | {usage.ru_maxrss / 1024:,.0f} | {said['leaks']:,} |", flush=True
        )


if __name__ == "__main__":
    main()
