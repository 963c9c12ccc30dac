"""Statistics of a dataset folder: of its rows from the shards, of the studies behind them from the readers."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from instruct.audit.result import build_digest
from instruct.build.verify import read_manifest
from instruct.reports.statistics.readers import describe, read_again
from instruct.reports.statistics.shards import Keys, row_statistics
from instruct.reports.statistics.texts import Tokenizer, load_tokenizer
from instruct.specs.task_spec import SPLITS

__all__ = ["compute_statistics", "published_rexgradient"]


def compute_statistics(folder: Path, *, data_root: Path | None = None, tokenizer: Path | None = None) -> dict[str, Any]:
    """Statistics of a build, as plain data.

    Rows (``rows``) are counted from the shards. Studies, patients and images (``sources``) are the distinct keys in the
    shards, by the source they belong to; what is known of these studies comes from the source's reader.

    Args:
        folder: the dataset folder.
        data_root: folder below which the sources lie, where they have moved since the build.
        tokenizer: folder of a model whose tokens are counted too.

    Raises:
        UsageError: the folder holds no finished build, or the tokenizer cannot be read.
    """
    manifest = read_manifest(folder)
    count = load_tokenizer(tokenizer) if tokenizer is not None else None
    keys: dict[str, Keys] = {split: Keys() for split in SPLITS}
    rows: dict[str, Any] = {}
    for task in manifest["tasks"]:
        rows[task["name"]] = {
            split: row_statistics(folder, task, split, count, keys[split]) for split in keys if split in task["splits"]
        }
    return {
        "build": manifest["name"],
        "build_digest": build_digest(manifest),
        "version": manifest["version"],
        "tokenizer": tokenizer.name if tokenizer is not None else None,
        "rows": rows,
        "sources": _sources(manifest, keys, data_root, count),
    }


def _sources(
    manifest: Mapping[str, Any], keys: Mapping[str, Keys], data_root: Path | None, tokenizer: Tokenizer | None
) -> dict[str, Any]:
    by_split = {split: held.by_source() for split, held in keys.items()}
    found: dict[str, Any] = {}
    for name in sorted({name for held in by_split.values() for name in held}):
        facts, note = read_again(manifest, name, data_root)
        splits = {}
        for split, held in by_split.items():
            if name not in held:
                continue
            own = held[name]
            splits[split] = {
                "studies": len(own.get("studies", ())),
                "patients": len(own["patients"]) if "patients" in own else None,
                "images": len(own.get("images", ())),
            }
            if facts is not None and "studies" in own:
                splits[split] |= describe(facts, own["studies"], tokenizer)
        found[name] = {"splits": splits} | ({"note": note} if note else {})
    return found


@cache
def published_rexgradient() -> dict[str, dict[str, float]]:
    """Table 1 and Table 2 of the ReXGradient-160K paper (arXiv:2505.00228): split to figure.

    Table 1: studies, images, patients, mean tokens of each section (of a tokenizer that the paper does not name).
    Table 2, in percent: age bands (of which end a bound belongs to is not said) and sexes.
    """
    text = (files("instruct.reports") / "data" / "rexgradient_published.csv").read_text("utf-8")
    return {
        row.pop("split"): {name: float(value) for name, value in row.items()}
        for row in csv.DictReader(text.splitlines())
    }
