"""An image job: one shard of an images table and all that decides its bytes, as :mod:`instruct.build.job` for examples.

What names a shard are its files' paths, sizes and times of change, not their content: knowing that takes reading them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from socket import gethostname
from typing import Any

import pyarrow as pa

from instruct.build.files import writing
from instruct.build.image_table import image_batches, image_schema
from instruct.build.job import ShardResult
from instruct.digest import digest_code, digest_json
from instruct.errors import DataError
from instruct.images.backend import backend
from instruct.images.dicom import dicom_versions
from instruct.images.fault import ImageFault
from instruct.images.store import ImagePolicy, StoredImage, read_image_file, store_image
from instruct.reasons import Reason

_CODE = tuple(
    f"instruct.{name}"
    for name in (
        "build.image_job", "build.image_table", "build.schema",
        "images.backend", "images.decode", "images.deep", "images.dicom", "images.fault", "images.frame",
        "images.geometry", "images.hashes", "images.store", "images.window",
    )
)  # fmt: skip
# Images of these names need no DICOM libraries: other versions of those leave their shards alone.
_NO_DICOM = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class ImageJob:
    """Plain data that decides one shard of an images table.

    Attributes:
        source: the source that the images are of.
        number: which shard of it.
        root: the folder that paths are below.
        paths: the images, in the order of their keys.
        stamps: size and time of change (in nanoseconds) of each file.
        policy: how they are stored.
    """

    source: str
    number: int
    root: str
    paths: tuple[str, ...]
    stamps: tuple[tuple[int, int], ...]
    policy: ImagePolicy

    @property
    def label(self) -> str:
        """Name of the job in messages."""
        return f"images of {self.source}, shard {self.number}"

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that decides the shard's bytes, by name; the key is its digest."""
        return {
            "source": self.source,
            "paths": digest_json(self.paths),
            "stamps": digest_json(self.stamps),
            "policy": asdict(self.policy),
            "backend": dict(backend(self.policy.backend).versions)
            | ({} if all(path.lower().endswith(_NO_DICOM) for path in self.paths) else dicom_versions()),
            "code": _code_digest(),
        }

    @property
    def key(self) -> str:
        """Content address of the shard."""
        return digest_json(self.facts)

    def loaded(self) -> ImageJob:
        """The job itself: images are read where they are published."""
        return self


@cache
def _code_digest() -> str:
    libraries = {name: version(name).split(".")[:2] for name in ("numpy", "pyarrow")}
    return digest_json([digest_code(_CODE), libraries])


def run_images(job: ImageJob, staged: Path) -> ShardResult:
    """Store a job's images and write its shard.

    Args:
        job: the job.
        staged: file to write; it appears whole or not at all.

    Returns:
        The images stored count as records and examples; ``bad`` are the others: path, reason, detail.

    Raises:
        UsageError: a library that some image needs is not installed.
        DataError: the shard cannot be written, or an image of the plan is not there.
    """
    stored, bad = 0, []
    root = Path(os.path.realpath(job.root))

    def images() -> Iterator[tuple[str, StoredImage]]:
        nonlocal stored
        for path, stamp in zip(job.paths, job.stamps, strict=True):
            try:
                image = store_image(read_image_file(root, path, job.policy.links), job.policy)
            except ImageFault as fault:
                if fault.reason is Reason.MISSING_IMAGE and any(stamp):
                    raise DataError(
                        f"{root / path}: was there when the build was planned, and is not there for the worker on"
                        f" {gethostname()}; images must lie under the same path on every machine"
                    ) from None
                bad.append({"id": path, "reason": str(fault.reason), "detail": fault.detail, "origin": job.source})
            else:
                stored += 1
                yield path, image

    with writing(staged) as shard, pa.ipc.new_stream(pa.PythonFile(shard, "w"), image_schema()) as writer:
        for batch in image_batches(images()):
            writer.write_batch(batch)
    return ShardResult(
        key=job.key,
        facts=job.facts,
        records=stored,
        examples=stored,
        bytes=shard.size,
        sha256=shard.sha256,
        bad=bad,
    )
