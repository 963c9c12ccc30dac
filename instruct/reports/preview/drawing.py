"""What the page draws of an example: its masks as outlines, and the boxes and polygons that its text prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from instruct.polygons import Ring, outline
from instruct.prompts.dialect import read_boxes, read_polygons
from instruct.regions import decode_mask

# Templates whose first of two images is the earlier study.
_PRIOR_FIRST = frozenset(
    {
        "difference_vqa",
        "progression_findings_generation",
        "progression_impression_generation",
        "temporal_image_classification",
    }
)


def captions(example: Mapping[str, Any]) -> list[str]:
    """What each image of an example is: Prior and Current where they are compared, else its number."""
    number = len(example["images"])
    if number == 2 and example["provenance"]["template"] in _PRIOR_FIRST:
        return ["Prior", "Current"]
    return [f"Image {index}" for index in range(1, number + 1)] if number > 1 else ["Image"] * number


def outlines(regions: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """The exact outline of each region's mask as a path in pixels of its ``size``; None where there is no mask.

    Fill it by the even-odd rule.
    """
    paths: list[str | None] = []
    for region in regions:
        if region["mask"] is None:
            paths.append(None)
            continue
        height, width = region["size"]
        try:
            rings = outline(decode_mask(region["mask"], height, width))
        except ValueError:
            paths.append(None)  # `verify` reports a damaged shard
            continue
        paths.append("".join(_path(ring, width, height) for ring in rings))
    return paths


def printed(example: Mapping[str, Any], dialect: str) -> list[dict[str, Any]]:
    """Boxes and polygons that the turns of an example print, read back as a model's answer would be.

    Returns:
        For each the image it is on, the role of its turn, its kind, label, and points (x, y) as shares. Empty where
        the example has no regions, or has them on several images, so that the text does not say which.
    """
    regions = example["regions"]
    images = {region["image"] for region in regions}
    if len(images) != 1:
        return []
    size = next((region["size"] for region in regions if region["size"]), None)
    if dialect == "pixels" and size is None:
        return []
    shapes = []
    for message in example["messages"]:
        text = "".join(part["text"] or "" for part in message["content"])
        found = [("polygon", shape.points, shape.label) for shape in read_polygons(text, dialect, size) or ()]
        if not found:
            boxes = read_boxes(text, dialect, size) or ()
            found = [("box", (read.box[:2], read.box[2:]), read.label) for read in boxes]
        shapes += [
            {"image": min(images), "role": message["role"], "kind": kind, "label": label, "points": points}
            for kind, points, label in found
        ]
    return shapes


def _path(ring: Ring, width: int, height: int) -> str:
    """A ring in pixels; its corners are whole pixels, and most of its edges upright or level."""
    corners = [(round(x * width), round(y * height)) for x, y in ring.tolist()]
    (x, y), steps = corners[0], []
    for to_x, to_y in corners[1:]:
        if to_y == y:
            steps.append(f"h{to_x - x}")
        elif to_x == x:
            steps.append(f"v{to_y - y}")
        else:
            steps.append(f"l{to_x - x} {to_y - y}")
        x, y = to_x, to_y
    return f"M{corners[0][0]} {corners[0][1]}{''.join(steps)}z"
