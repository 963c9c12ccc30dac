"""The COCO file of MS-CXR, beside the CSV file in the release: the same boxes, images in a list of their own."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa

from instruct.errors import DataError

_text = pa.string()


class _Image(msgspec.Struct, gc=False):
    id: int
    path: str
    width: int
    height: int
    split: str | None = None


class _Category(msgspec.Struct, gc=False):
    id: int
    name: str


class _Annotation(msgspec.Struct, gc=False):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    label_text: str
    split: str | None = None


class _Coco(msgspec.Struct, gc=False):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation]


def read_coco(path: Path) -> pa.Table:
    """The annotations of a COCO file under the CSV file's names of columns, in file order.

    Raises:
        DataError: the file is not of MS-CXR's form, or an annotation names an image or category that is not there.
    """
    try:
        coco = msgspec.json.decode(path.read_bytes(), type=_Coco)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}:1: {error}; expected COCO's images (id, path, width, height), categories (id, name) and "
            "annotations (image_id, category_id, bbox, label_text)"
        ) from None
    images = {image.id: image for image in coco.images}
    names = {category.id: category.name for category in coco.categories}
    for number, annotation in enumerate(coco.annotations, 1):
        if annotation.image_id not in images or annotation.category_id not in names:
            raise DataError(
                f"{path}: annotation {number} has image {annotation.image_id} and category {annotation.category_id}; "
                "expected ids of the file's images and categories"
            )
    shown = [images[annotation.image_id] for annotation in coco.annotations]
    sides = zip(*(annotation.bbox for annotation in coco.annotations), strict=True) if shown else ((),) * 4
    splits = [annotation.split or image.split for annotation, image in zip(coco.annotations, shown, strict=True)]
    columns = {
        "category_name": pa.array([names[annotation.category_id] for annotation in coco.annotations], _text),
        "label_text": pa.array([annotation.label_text.strip() or None for annotation in coco.annotations], _text),
        "path": pa.array([image.path for image in shown], _text),
        **{side: pa.array(values, pa.float64()) for side, values in zip("xywh", sides, strict=True)},
        "image_width": pa.array([image.width for image in shown], pa.float64()),
        "image_height": pa.array([image.height for image in shown], pa.float64()),
        "split": pa.array(splits, _text),
    }
    return pa.table(columns)
