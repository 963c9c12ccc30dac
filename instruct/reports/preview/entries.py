"""Examples as the page takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from instruct.reports.preview.drawing import captions, outlines, printed
from instruct.reports.preview.rows import Group


def entry_of(group: Group, example: Mapping[str, Any], dialect: str, share: bool = False) -> dict[str, Any]:
    """An example with all that the page shows of it but its pictures.

    Args:
        group: the group it is of.
        example: the example, as its shard holds it.
        dialect: the dialect of the build.
        share: whether others will see it: paths of this machine then give way to the images' keys.
    """
    row = _plain(example)
    if share:
        for image, key in zip(row["images"], row["keys"]["images"], strict=True):
            image["path"] = key
    return {
        "split": group.split,
        "source": group.source,
        "captions": captions(example),
        "outlines": outlines(example["regions"]),
        "printed": printed(example, dialect),
        "row": row,
    }


def _plain(value: Any) -> Any:
    """Arrow's values as JSON has them; bytes as their number, or a page would hold every image twice."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return f"({len(value):,} bytes)" if isinstance(value, bytes) else value
