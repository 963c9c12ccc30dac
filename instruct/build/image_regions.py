"""Regions follow their image: they go with one that is left out, and are moved with one that is resized or padded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instruct.build.image_stage import StoredFolder
from instruct.images.folder import ImageFolder
from instruct.images.geometry import Geometry
from instruct.specs.contract import REGION_TYPE, REGIONS_TYPE, namespaces


def stray_regions(records: pa.RecordBatch, images: npt.NDArray[np.int64]) -> dict[int, str]:
    """Records with a region on an image that they do not have: row to what is wrong.

    Args:
        records: records with their images.
        images: how many each record has.
    """
    if "regions" not in records.schema.names:
        return {}
    rows, index = _images_of(records.column("regions"))
    wrong = np.flatnonzero((index < 0) | (index >= images[rows]))
    return {
        int(rows[at]): f"a region is on image {index[at]}; the record has {images[rows[at]]}, counted from 0"
        for at in wrong[::-1]
    }


def shown_regions(records: pa.RecordBatch, shown: npt.NDArray[np.bool_]) -> pa.ListArray | None:
    """The regions of the images that stay, with the place that each has among these; None where there are none.

    Args:
        records: records with their images.
        shown: whether each image of all records stays.
    """
    if "regions" not in records.schema.names or not len(records.column("regions").flatten()):
        return None
    regions = records.column("regions")
    before = np.asarray(pc.list_value_length(records.column("images")), np.int64)
    places = np.append(0, np.cumsum(shown))  # of each image among all that stay
    first = np.cumsum(before) - before
    rows, index = _images_of(regions)
    at = np.clip(first[rows] + index, 0, len(shown) - 1)  # strays are left out with their record
    moved = pa.array((places[at] - places[first[rows]]).astype(np.int32))
    values = regions.flatten()
    fields = dict(zip([field.name for field in REGION_TYPE], values.flatten(), strict=True)) | {"image": moved}
    kept = pa.StructArray.from_arrays(list(fields.values()), fields=list(REGION_TYPE)).filter(pa.array(shown[at]))
    ends = np.cumsum(np.bincount(rows[shown[at]], minlength=len(records)))
    return pa.ListArray.from_arrays(pa.array(np.append(0, ends).astype(np.int32)), kept)


def _images_of(regions: pa.ListArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each region, the row of its record and the number of its image; one that names none is on the first."""
    index = pc.fill_null(pc.struct_field(regions.flatten(), "image"), 0)
    return np.asarray(pc.list_parent_indices(regions), np.int64), np.asarray(index, np.int64)


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
