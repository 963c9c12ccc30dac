"""Publication: finished shards take their names, and the files that ``datasets`` and people read are written.

The old manifest goes first and the new one comes last: a folder with a manifest is a whole build.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from instruct.build.files import write_json
from instruct.build.image_table import image_features
from instruct.build.job import ShardResult
from instruct.build.output import IMAGES, MANIFEST, SPLIT_NAMES, OutputFolder
from instruct.build.schema import features
from instruct.digest import digest_json

# Split to the shards of one configuration, or source to those of its images, each with the file it is in now.
Shards = Mapping[str, Sequence[tuple[ShardResult, Path]]]


def publish_shards(
    output: OutputFolder, configs: Mapping[str, Shards], images: Shards | None = None, images_shown: bool = True
) -> tuple[dict[str, dict[str, list[dict[str, Any]]]], dict[str, list[dict[str, Any]]]]:
    """Move shards to their names and write what opens them; remove what the build no longer has.

    Args:
        output: the output folder.
        configs: configuration to its shards.
        images: source to the shards of its images table.
        images_shown: whether these are part of the dataset; otherwise they are kept for the next build only.

    Returns:
        For the manifest: configuration to split to shards, each with file, key, rows, bytes and digest; a split without
        an example has no shards, for they are kept for the next build only. And source to
        the shards of its images, without a key: it holds times, which differ between copies of one dataset.
    """
    (output.path / MANIFEST).unlink(missing_ok=True)
    moves: list[tuple[str, Path, Path]] = []
    published: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for config, splits in configs.items():
        published[config] = {}
        for split, shards in splits.items():
            entries = []
            if not any(result.examples for result, _ in shards):  # `datasets` opens no split without a row
                moves += [(result.key, file, output.empty_file(result.key)) for result, file in shards]
                shards = []
            for number, (result, file) in enumerate(shards):
                target = output.shard_file(config, split, number, len(shards))
                moves.append((result.key, file, target))
                entries.append(
                    {
                        "file": target.relative_to(output.path).as_posix(),
                        "key": result.key,
                        "records": result.records,
                        "examples": result.examples,
                        "bytes": result.bytes,
                        "sha256": result.sha256,
                    }
                )
            published[config][split] = entries
    stored: dict[str, list[dict[str, Any]]] = {}
    for source, shards in (images or {}).items():
        for number, (result, file) in enumerate(shards):
            target = output.images_file(source, number, len(shards), images_shown)
            moves.append((result.key, file, target))
            stored.setdefault(source, []).append(
                {
                    "file": target.relative_to(output.path).as_posix(),
                    "images": result.examples,
                    "bytes": result.bytes,
                    "sha256": result.sha256,
                }
            )
    _move(output, moves)
    _remove_strays(output, {target for _, _, target in moves})
    for name, content in descriptions(published, stored if images_shown else {}).items():
        write_json(output.path / name, content)
    return published, stored


def _move(output: OutputFolder, moves: Sequence[tuple[str, Path, Path]]) -> None:
    """Move shards to their names. At any moment each lies where :meth:`OutputFolder.find` looks."""
    # First out of the way, then into place: one shard's new name can be another's old one.
    for key, file, target in moves:
        if file not in (target, output.staged(key)):
            output.staged(key).parent.mkdir(parents=True, exist_ok=True)
            file.replace(output.staged(key))
    output.place({key: target for key, _, target in moves})
    for key, file, target in moves:
        if file != target:
            target.parent.mkdir(parents=True, exist_ok=True)
            output.staged(key).replace(target)


def _remove_strays(output: OutputFolder, wanted: set[Path]) -> None:
    hidden = (*output.work.glob(f"{IMAGES}/*/arrow/data-*.arrow"), *output.work.glob("empty/*.arrow"))
    for file in (*output.path.glob("*/*/arrow/data-*.arrow"), *hidden):  # others are caches of `datasets`
        if file not in wanted:
            file.unlink()
    configs = {file.parents[2] for file in wanted}
    splits = {file.parents[1] for file in wanted}
    for state in output.path.glob("*/*/state.json"):
        if state.parent not in splits:
            shutil.rmtree(state.parent)
    for description in output.path.glob("*/dataset_dict.json"):
        if description.parent not in configs:
            shutil.rmtree(description.parent)
    for split in SPLIT_NAMES.values():
        shutil.rmtree(output.path / split, ignore_errors=True)


def descriptions(
    published: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
    images: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> dict[str, dict[str, Any]]:
    """What ``load_from_disk`` reads of each configuration, of the folder as all of them together, and of the images.

    Args:
        published: configuration to split to shards, as in the manifest.
        images: source to shards of its images table, as in the manifest.

    Returns:
        File name below the output folder to its JSON content.
    """
    together: dict[str, list[Mapping[str, Any]]] = {}
    for split in SPLIT_NAMES:
        shards = [shard for config in sorted(published) for shard in published[config].get(split, ())]
        if shards:
            together[split] = shards
    files: dict[str, dict[str, Any]] = {}
    for folder, splits in (*published.items(), (".", together)):
        named = {name: splits[split] for split, name in SPLIT_NAMES.items() if splits.get(split)}
        if named or folder == ".":
            files |= _describe(Path(folder), named, features())
    if images:
        files |= _describe(Path(IMAGES), images, image_features())
    return files


def _describe(
    folder: Path, splits: Mapping[str, Sequence[Mapping[str, Any]]], columns: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The list of splits, and per split its features and files."""
    described: dict[str, dict[str, Any]] = {(folder / "dataset_dict.json").as_posix(): {"splits": list(splits)}}
    for split, shards in splits.items():
        place = folder / split
        up, inside = "../" * len(place.parts), f"{place.as_posix()}/"
        files = [
            shard["file"].removeprefix(inside) if shard["file"].startswith(inside) else up + shard["file"]
            for shard in shards
        ]
        described[f"{inside}dataset_info.json"] = {"features": columns}
        described[f"{inside}state.json"] = {
            "_data_files": [{"filename": file} for file in files],
            # datasets names its caches by this; it must change with the content.
            "_fingerprint": digest_json([shard["sha256"] for shard in shards])[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": split,
        }
    return described


def hub_configs(published: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> list[dict[str, Any]]:
    """The ``configs`` of the card's YAML: one per configuration, and ``all``, which is the default."""
    splits = [split for split in SPLIT_NAMES if any(published[config].get(split) for config in published)]
    everything = {
        "config_name": "all",
        "default": True,
        "data_files": [
            {"split": SPLIT_NAMES[split], "path": f"*/{SPLIT_NAMES[split]}/arrow/data-*.arrow"} for split in splits
        ],
    }
    return [everything] + [
        {
            "config_name": config,
            "data_files": [
                {"split": SPLIT_NAMES[split], "path": f"{config}/{SPLIT_NAMES[split]}/arrow/data-*.arrow"}
                for split in published[config]
                if published[config][split]
            ],
        }
        for config in sorted(published)
        if any(published[config].values())
    ]
