"""Regions follow their image: boxes and masks of records whose images are stored resized or padded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from instruct.build.image_stage import StoredFolder
from instruct.images.folder import ImageFolder
from instruct.images.geometry import Geometry
from instruct.specs.contract import REGIONS_TYPE, namespaces


def follow(records: pa.RecordBatch, namespace: str, folders: Mapping[str, ImageFolder]) -> pa.RecordBatch:
    """Records whose regions are those of the stored images.

    Boxes become shares of the stored image, masks are drawn anew over it, ``size`` is its height and width.

    Args:
        records: records with their images.
        namespace: the task's namespace, for records that name none.
        folders: namespace to the folder of its images.
    """
    if "regions" not in records.schema.names or "images" not in records.schema.names:
        return records
    regions = records.column("regions")
    if not pc.any(pc.greater(pc.list_value_length(regions), 0)).as_py():
        return records
    moved = [
        [_moved(region, _geometry(folders.get(held_by), images, region["image"])) for region in some or ()]
        for some, held_by, images in zip(
            regions.to_pylist(),
            namespaces(records, namespace)[1].to_pylist(),
            records.column("images").to_pylist(),
            strict=True,
        )
    ]
    position = records.schema.get_field_index("regions")
    return records.set_column(position, records.schema.field(position), pa.array(moved, REGIONS_TYPE))


def _geometry(folder: ImageFolder | None, images: list[str], index: int | None) -> Geometry | None:
    if not isinstance(folder, StoredFolder) or not 0 <= (index or 0) < len(images):
        return None
    return folder.geometry(images[index or 0])


def _moved(region: dict[str, Any], geometry: Geometry | None) -> dict[str, Any]:
    if geometry is None:
        return region
    width, height = geometry.canvas
    box, mask = region["box"], region["mask"]
    return region | {
        "box": None if box is None else geometry.box(box),
        "mask": None if mask is None else geometry.mask_text(mask, *region["size"]),
        "size": [height, width],
    }
