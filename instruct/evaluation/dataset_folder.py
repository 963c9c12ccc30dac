"""References out of a dataset folder that ``cxr-instruct build`` made.

The folder holds, per example, the text a perfect model writes, the menu it was shown and the truth as data; its recipe
names the dialect of boxes and masks. Each prediction is put beside these, so that the task metrics read it back the way
it was asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from instruct.build.verify import read_manifest
from instruct.errors import DataError
from instruct.evaluation.files import Row
from instruct.evaluation.pairs import Group, group_of
from instruct.evaluation.tasks.kinds import KINDS, SEGMENTATION
from instruct.prompts.dialect import read_boxes, read_polygons
from instruct.shard import open_shard

_COLUMNS = ("id", "task", "dataset", "messages", "regions", "options", "answers", "keys")
_SPLITS = {"validation": "val"}
# An image with nothing on it has no size in its record, and none is needed: whatever is marked there is wrong.
_ANY_SIZE = (1_000_000, 1_000_000)


class Truth(NamedTuple):
    """What a folder knows of one predicted example.

    Attributes:
        group: its task, dataset and split.
        reference: its last assistant turn.
        extra: fields for the task metrics: the group's, and ``target``, ``options``, ``dialect``, ``size``, ``shape``
            or ``finding`` where the task has them.
    """

    group: Group
    reference: str
    extra: Mapping[str, Any]


def read_truths(folder: Path, rows: Sequence[Row], ids: Sequence[str]) -> tuple[list[Truth], dict[Group, int]]:
    """What the folder knows of each predicted example.

    Args:
        folder: the dataset folder.
        rows: the rows of the prediction file; ``task``, ``dataset`` and ``split`` narrow down which example is meant.
        ids: their ids.

    Returns:
        One truth per row, and for each task, dataset and split with a prediction its examples without one.

    Raises:
        DataError: an id is not in the folder, means several of its examples, or is predicted twice; or a shard is gone.
        UsageError: the folder is no finished build.
    """
    manifest = read_manifest(folder)
    held, sizes = _find(folder, manifest, [_asked(row) for row in rows], ids)
    chosen: list[tuple[Group, Mapping[str, Any]]] = []
    unknown = []
    for row, name in zip(rows, ids, strict=True):
        fitting = [(group, example) for group, example in held.get(name, []) if _fits(group, _asked(row))]
        if len(fitting) > 1:
            raise DataError(_several(folder, row, name, [group for group, _ in fitting]))
        if fitting:
            chosen += fitting
        else:
            unknown.append((row, name))
    if unknown:
        raise DataError(_unknown(folder, unknown))
    dialect = manifest["recipe"]["dialect"]
    truths = [_truth(group, example, dialect) for group, example in chosen]
    for row, name, truth in zip(rows, ids, truths, strict=True):
        _check_reference(folder, row, name, truth)
    done = Counter(truth.group for truth in truths)
    return truths, {group: sizes[group] - number for group, number in sorted(done.items())}


def _asked(row: Row) -> Group:
    """Task, dataset and split that a row names, the split by its name in the count table."""
    group = group_of(row.fields)
    return group._replace(split=_SPLITS.get(group.split, group.split))


def _fits(group: Group, asked: Group) -> bool:
    return all(wanted in ("", is_) for is_, wanted in zip(group, asked, strict=True))


def _find(
    folder: Path, manifest: Mapping[str, Any], asked: Sequence[Group], ids: Sequence[str]
) -> tuple[dict[str, list[tuple[Group, Mapping[str, Any]]]], dict[Group, int]]:
    """Examples that a row may mean, by id, and the number of examples of every task, dataset and split."""
    names: dict[Group, set[str]] = {}
    for group, name in zip(asked, ids, strict=True):
        names.setdefault(group, set()).add(name)
    held: dict[str, list[tuple[Group, Mapping[str, Any]]]] = {}
    sizes: dict[Group, int] = {}
    for entry in manifest["tasks"]:
        for split, content in entry["splits"].items():
            group = Group(entry["task"], entry["dataset"], split)
            sizes[group] = sum(shard["examples"] for shard in content["shards"])
            wanted = set().union(*(some for one, some in names.items() if _fits(group, one)))
            if wanted:
                for shard in content["shards"]:
                    for example in _matching(folder / shard["file"], pa.array(sorted(wanted), pa.string())):
                        held.setdefault(example["id"], []).append((group, example))
    return held, sizes


def _matching(file: Path, wanted: pa.Array) -> list[dict[str, Any]]:
    with open_shard(file) as shard:
        table = shard.read_all().select(_COLUMNS)
        found: list[dict[str, Any]] = table.filter(pc.is_in(table["id"], wanted)).to_pylist()
    return found


def _truth(group: Group, example: Mapping[str, Any], dialect: str) -> Truth:
    reference = next(turn for turn in reversed(example["messages"]) if turn["role"] == "assistant")
    text = "".join(part["text"] or "" for part in reference["content"])
    kind = KINDS.get(group.task)
    extra: dict[str, Any] = dict(group._asdict())
    if example["options"]:
        extra["options"] = example["options"]
    if kind in ("boxes", SEGMENTATION):
        extra |= _places(text, example["regions"] or [], dialect, masks=kind == SEGMENTATION)
    elif example["answers"]:
        extra["target"] = example["answers"] if kind in ("labels", "vqa") else example["answers"][0]
    if kind == "temporal":
        extra["finding"] = _finding(example["keys"]["record"])
    return Truth(group, text, extra)


def _places(text: str, regions: Sequence[Mapping[str, Any]], dialect: str, *, masks: bool) -> dict[str, Any]:
    """The regions as target, in the form that the answer was asked in."""
    size = next((region["size"] for region in regions if region["size"]), _ANY_SIZE)
    if masks and regions and read_polygons(text, dialect, size):
        target = [{"box": region["box"], "mask": region["mask"], "size": region["size"]} for region in regions]
        return {"dialect": dialect, "size": size, "shape": "polygon", "target": target}
    labelled = any(box.label for box in read_boxes(text, dialect, size) or ())
    target = [{"box": region["box"], "label": (region["label"] or "") if labelled else ""} for region in regions]
    asked = {"shape": "box"} if masks and regions else {}
    return {"dialect": dialect, "size": size, "target": target, **asked}


def _finding(record: str) -> str:
    """The finding that a comparison is about: the last part of its record's id, ``s1:2:pleural_effusion``."""
    return record.rpartition(":")[2].replace("_", " ")


def _check_reference(folder: Path, row: Row, name: str, truth: Truth) -> None:
    given = row.fields.get("reference")
    if isinstance(given, str) and given.split() != truth.reference.split():
        raise DataError(
            f"{row.place}: the reference of {name!r} is not the answer that {folder} holds for it, so the prediction "
            "was made with another build; give the folder it was made with"
        )


def _several(folder: Path, row: Row, name: str, groups: Sequence[Group]) -> str:
    differ = [repr(key) for key in Group._fields if len({getattr(group, key) for group in groups}) > 1]
    if not differ:
        return f"{row.place}: {folder} holds {len(groups)} examples with the id {name!r} in {groups[0]}"
    return (
        f"{row.place}: id {name!r} means {len(groups)} examples of {folder} ({'; '.join(map(str, groups))}); "
        f"add {' and '.join(differ)} to the lines"
    )


def _unknown(folder: Path, unknown: Sequence[tuple[Row, str]]) -> str:
    listed = []
    for row, name in unknown[:5]:
        asked = _asked(row)
        listed.append(repr(name) + (f" in {asked}" if any(asked) else ""))
    number = "1 prediction has" if len(unknown) == 1 else f"{len(unknown)} predictions have"
    return (
        f"{unknown[0][0].place}: {number} no example in {folder}: {', '.join(listed)}"
        f"{' …' if len(unknown) > 5 else ''}. Every line must be one of the folder's examples, by its id and its "
        "task, dataset and split where they are given"
    )
