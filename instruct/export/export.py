"""Export a build: its examples in another format, and what of it could not be exported, by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import instruct
from instruct.audit.result import build_digest
from instruct.build.verify import read_manifest
from instruct.errors import DataError, UsageError
from instruct.export.folder import ExportFolder, overlap
from instruct.export.groups import Group, choose, narrowed
from instruct.export.parquet import write_parquet
from instruct.export.pictures import EXPLANATIONS, Left, Pictures
from instruct.export.readme import hub_readme, trainer_readme
from instruct.export.trainers import TRAINERS, Tally, dataset_info, shards_info, to_json, write_trainer
from instruct.specs.terms import check_terms, sources_of

To = Literal["parquet", "llava", "llamafactory", "ms-swift", "axolotl"]
Form = Literal["sharegpt", "openai", "arrow"]
_OVERRIDE = "--permission SOURCE=REASON"


@dataclass(frozen=True)
class Export:
    """What an export did.

    Attributes:
        out: its folder.
        rows: ``[Task] [Dataset]`` to split to what became of its examples.
        images: image files written.
        notes: what was changed on the way or is lost, and of how many examples.
    """

    out: Path
    rows: dict[str, dict[str, Tally]]
    images: int
    notes: dict[str, int]

    @property
    def exported(self) -> int:
        """Examples exported."""
        return sum(tally.exported for splits in self.rows.values() for tally in splits.values())

    @property
    def left_out(self) -> dict[str, int]:
        """Examples left out, by reason."""
        found: Counter[str] = Counter()
        for splits in self.rows.values():
            for tally in splits.values():
                found += tally.left_out
        return dict(sorted(found.items()))


def export(
    folder: Path,
    to: To,
    out: Path,
    *,
    form: Form | None = None,
    tasks: Sequence[str] = (),
    splits: Sequence[str] = (),
    embed_images: bool = False,
    permissions: Mapping[str, str] | None = None,
) -> Export:
    """Export a build.

    The same build gives the same bytes (of paths that name this machine's folders, on this machine). ``export.json`` is
    written last: a folder without it is not finished.

    Args:
        folder: the dataset folder.
        to: for whom: parquet is for the Hugging Face Hub.
        out: the folder to write; it must be new, empty, or hold an earlier export, which is replaced.
        form: of llamafactory: sharegpt (default) or openai, or arrow, which points at the build's own shards.
        tasks: ``[Task] [Dataset]`` or configurations; none takes all.
        splits: train, val, test; none takes all.
        embed_images: of parquet: embed the published images of a build that refers to them.
        permissions: source to the written reason why its images may be exported although its terms say no.

    Raises:
        UsageError: options do not go together, there is no such task or example, or the folder holds something else or
            overlaps with the build's.
        TermsError: images would be copied, and the terms of a source forbid it.
        DataError: the build is damaged, nothing of it can be exported, or the disk is full.
    """
    _check(to, form, embed_images)
    manifest = read_manifest(folder)
    if overlap(folder, out):
        raise UsageError(f"{out}: is the folder of the build, in it, or around it; choose another --out")
    groups = choose(folder, manifest, tasks, splits)
    manifest = narrowed(manifest, groups)
    pictures = Pictures(folder, manifest)
    copies = form != "arrow" and (embed_images or pictures.store != "reference")
    given = dict(permissions or {})
    if copies and any(group.has("images") for group in groups):
        check_terms("export", sources_of(manifest), given, _OVERRIDE)
    elif given:
        raise UsageError("a permission is for exports that hold images; this one holds none")
    place = ExportFolder(out)
    with place.claimed() as facts:
        configs: dict[str, dict[str, list[str]]] = {}
        images = 0
        if to == "parquet":
            configs, tallies = write_parquet(groups, pictures, copies, place)
        elif form == "arrow":
            place.write("dataset_info.json", to_json(shards_info(groups, pictures)))
            tallies = {group: Tally(exported=group.examples) for group in groups}
        else:
            trainer = TRAINERS[to, form or ("sharegpt" if to == "llamafactory" else None)]
            files, tallies, held = write_trainer(trainer, groups, pictures, manifest["recipe"]["dialect"], place)
            images = held.written
            if to == "llamafactory":
                place.write("dataset_info.json", to_json(dataset_info(files, form or "sharegpt")))
        done = Export(place.path, _rows(groups, tallies), images, _notes(tallies))
        if not done.exported:
            raise DataError("\n".join(["nothing can be exported:", *left_out_lines(done)]))
        if to == "parquet":
            place.write("README.md", hub_readme(manifest, configs, copies, tallies, given))
        else:
            place.write("README.md", trainer_readme(manifest, to, form, place.path, [*place.files], tallies))
        facts |= _facts(manifest, to, form, done, given)
    return done


def _check(to: To, form: Form | None, embed_images: bool) -> None:
    if form is not None and to != "llamafactory":
        raise UsageError(f"--form belongs to --to llamafactory; {to} has one form")
    if embed_images and to != "parquet":
        raise UsageError(f"--embed-images belongs to --to parquet; {to} reads image files")


def _rows(groups: Sequence[Group], tallies: Mapping[Group, Tally]) -> dict[str, dict[str, Tally]]:
    rows: dict[str, dict[str, Tally]] = {}
    for group in groups:
        rows.setdefault(group.name, {})[group.split] = tallies[group]
    return rows


def _notes(tallies: Mapping[Group, Tally]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for tally in tallies.values():
        found += tally.notes
    return dict(sorted(found.items()))


def left_out_lines(done: Export) -> list[str]:
    """What was left out, a line for each reason."""
    return [
        f"{number:,} examples left out: {name}: {EXPLANATIONS[Left(name)]}" for name, number in done.left_out.items()
    ]


def _facts(
    manifest: Mapping[str, Any], to: To, form: Form | None, done: Export, permissions: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "version": instruct.__version__,
        "to": to,
        "form": form,
        "build": {"name": manifest["name"], "digest": build_digest(manifest)},
        "rows": {
            name: {
                split: {"exported": tally.exported, "left_out": dict(tally.left_out)} for split, tally in row.items()
            }
            for name, row in done.rows.items()
        },
        "images": done.images,
        "notes": done.notes,
        "permissions": dict(permissions),
    }
