"""The record contract: the columns that a record query gives, beside those its template reads."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

REGION_TYPE = pa.struct(
    [
        pa.field("image", pa.int32()),  # index into the record's images, from 0
        pa.field("label", pa.string()),
        pa.field("box", pa.list_(pa.float64())),  # x1, y1, x2, y2 as shares of width and height, 0-1
        pa.field("mask", pa.string()),  # COCO compressed run lengths, over `size`; null where there is only a box
        pa.field("size", pa.list_(pa.int32())),  # height and width of the image in pixels; null where not known
    ]
)

REGIONS_TYPE = pa.list_(REGION_TYPE)
_REGION_SQL = "STRUCT(image INTEGER, label VARCHAR, box DOUBLE[], mask VARCHAR, size INTEGER[])[]"

# The record contract: name, SQL type, Arrow type, whether a query must give it, what it is.
CONTRACT: tuple[tuple[str, str, pa.DataType, bool, str], ...] = (
    ("id", "VARCHAR", pa.string(), True, "identifier of the record, unique within the task"),
    ("split", "VARCHAR", pa.string(), True, "train, val or test"),
    ("patient", "VARCHAR", pa.string(), True, "patient; null where the source does not say (NULL::VARCHAR)"),
    ("studies", "VARCHAR[]", pa.list_(pa.string()), True, "the studies that the record is about, and counts as"),
    ("origin", "VARCHAR", pa.string(), True, "published file, and row in it, that the record comes from"),
    (
        "images",
        "VARCHAR[]",
        pa.list_(pa.string()),
        False,
        "images in the order the template places them; absent for text",
    ),
    ("regions", _REGION_SQL, REGIONS_TYPE, False, "boxes and masks, as shares of their image"),
    ("options", "VARCHAR[]", pa.list_(pa.string()), False, "choices; the builder orders them by keyed hash"),
    ("answers", "VARCHAR[]", pa.list_(pa.string()), False, "the right choices, or accepted answers"),
    ("namespace", "VARCHAR", pa.string(), False, "source that this record's keys belong to, where records differ"),
    (
        "image_namespace",
        "VARCHAR",
        pa.string(),
        False,
        "source whose folder holds the images, where it is not that of the other keys",
    ),
)
CONTRACT_NAMES = frozenset(name for name, *_ in CONTRACT)
CONTRACT_TYPES = {name: kind for name, _, kind, *_ in CONTRACT}

VARIANT_HASH = "_variant_hash"


def namespaces(records: pa.RecordBatch, default: str) -> tuple[pa.Array, pa.Array]:
    """Source that each record's patient and studies belong to, and source that its images belong to.

    Args:
        records: records of one task.
        default: the task's namespace, for records that name none.
    """

    def given(column: str, otherwise: pa.Array) -> pa.Array:
        return pc.coalesce(records.column(column), otherwise) if column in records.schema.names else otherwise

    keys = given("namespace", pa.repeat(pa.scalar(default, pa.string()), len(records)))
    return keys, given("image_namespace", keys)
