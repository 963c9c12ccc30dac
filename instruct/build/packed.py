"""Open a packed dataset: rows with their images, taken from the images tables as views of mapped memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from instruct.build.image_table import ImageTable
from instruct.build.output import SPLIT_NAMES
from instruct.build.verify import read_manifest
from instruct.digest import digest_json
from instruct.errors import UsageError


class PackedImages:
    """The images tables of a packed dataset folder.

    Opening maps the files and reads none of them. An instance can be sent to another process, which opens them anew.

    Args:
        folder: the dataset folder.

    Raises:
        UsageError: the folder holds no finished build, or one that is not packed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        held = read_manifest(folder).get("images", {})
        if held.get("store") != "pack":
            raise UsageError(
                f"{folder}: its images are not packed (images.store: {held.get('store', 'reference')});"
                " datasets.load_from_disk opens it"
            )
        self._tables = {
            source: ImageTable([self.folder / shard["file"] for shard in facts["shards"]])
            for source, facts in held["sources"].items()
        }

    def __reduce__(self) -> tuple[type[PackedImages], tuple[Path]]:
        return type(self), (self.folder,)

    def data(self, key: str) -> pa.Buffer:
        """The image file of a key, ``source/path``, as rows hold it: a view, not a copy.

        Raises:
            KeyError: there is no such image.
        """
        source, _, path = key.partition("/")
        return self._tables[source].data(path)

    def image(self, key: str) -> Any:
        """The image of a key as a PIL image that is decoded when its pixels are asked for."""
        from PIL import Image

        return Image.open(pa.BufferReader(self.data(key)))


class ReadImages:
    """The transform of a packed dataset: keys of images to images.

    Args:
        images: the images tables.
        decode: give PIL images, or else the bytes of the image files (``pyarrow.Buffer``, a view).
    """

    def __init__(self, images: PackedImages, decode: bool = True) -> None:
        self.images = images
        self.decode = decode

    def __call__(self, batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """A batch of rows, as ``datasets`` hands it to a transform, with its images."""
        read = self.images.image if self.decode else self.images.data
        rows = dict(batch)
        if "images" in rows:
            rows["images"] = [[read(image["path"]) for image in row] for row in rows["images"]]
        return rows


def open_packed(
    folder: str | Path,
    config: str | None = None,
    split: Literal["train", "val", "validation", "test"] = "train",
    *,
    decode: bool = True,
) -> Any:
    """Open one split of a dataset folder that was built with ``images.store: pack``.

    Nothing is copied: rows and images are read from mapped memory when they are asked for.

    Args:
        folder: the dataset folder.
        config: a configuration (task and dataset); None opens all of them together.
        split: train, val (which ``datasets`` calls validation) or test.
        decode: give images as PIL images, decoded when their pixels are asked for; False gives their files' bytes.

    Returns:
        A ``datasets.Dataset`` with a transform, so that ``select``, ``shuffle``, ``with_transform`` and a PyTorch
        ``DataLoader`` work as on any other.

    Raises:
        UsageError: the folder is no packed build, or has no such configuration or split.
    """
    import datasets
    from datasets.table import MemoryMappedTable, concat_tables

    place = Path(folder)
    images = PackedImages(place)
    named = {name: split_name for split_name, on_disk in SPLIT_NAMES.items() for name in (split_name, on_disk)}
    tasks = [task for task in read_manifest(place)["tasks"] if config in (None, task["config"])]
    files = [
        str(place / shard["file"])
        for task in sorted(tasks, key=lambda task: str(task["config"]))
        for shard in task["splits"].get(named.get(split, split), {}).get("shards", ())
    ]
    if not files:
        every = read_manifest(place)["tasks"]
        there = sorted(f"{task['config']} {name}" for task in every for name in task["splits"])
        raise UsageError(f"{folder}: has no {config or 'rows'} {split}; it has: {', '.join(there)}")
    table = concat_tables([MemoryMappedTable.from_file(file) for file in files])
    features = datasets.Features.from_arrow_schema(table.schema)
    # Rows hold keys, not files: `datasets` must not look for them.
    features["images"] = datasets.List(datasets.Image(decode=False))
    dataset = datasets.Dataset(
        table,
        info=datasets.DatasetInfo(features=features),
        split=datasets.Split(SPLIT_NAMES[named[split]]),
        fingerprint=_fingerprint(place, files),
    )
    return dataset.with_transform(ReadImages(images, decode))


def _fingerprint(folder: Path, files: list[str]) -> str:
    """Name of the rows for the caches of ``datasets``: it changes with their content."""
    manifest = read_manifest(folder)
    known = {
        str(folder / shard["file"]): shard["sha256"]
        for task in manifest["tasks"]
        for split in task["splits"].values()
        for shard in split["shards"]
    }
    images = [shard["sha256"] for held in manifest["images"]["sources"].values() for shard in held["shards"]]
    return digest_json([[known[file] for file in files], images])[:16]
