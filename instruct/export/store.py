"""Copy a dataset folder to a store that has neither renames nor locks: S3, Google Cloud Storage, HTTP, another disk.

A build is made on a local disk, where it is memory-mapped and renamed. The copy needs nothing of its target but that a
file which was written whole can be read: the old manifest goes first and the new one comes last, so that a copy with a
manifest is a whole one, and every file is read back before it counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instruct.build.output import MANIFEST
from instruct.build.verify import read_manifest
from instruct.digest import digest_bytes, digest_file
from instruct.errors import DataError, UsageError

# Says whose the target is as long as it has no manifest; the last thing to be removed.
MARK = "copying.json"
_BLOCK = 8 << 20


@dataclass(frozen=True)
class Copied:
    """What a copy did.

    Attributes:
        sent: files sent.
        kept: files that were there already, by digest.
        removed: files of an earlier copy that the dataset no longer has.
        bytes: bytes sent.
    """

    sent: int
    kept: int
    removed: int
    bytes: int


def copy_to(
    folder: Path, url: str, options: dict[str, Any] | None = None, say: Callable[[str], None] | None = None
) -> Copied:
    """Copy a finished build to a URL that fsspec knows. One that was broken off goes on where it stopped.

    Args:
        folder: the dataset folder.
        url: the target, such as ``s3://bucket/rex-instruct``.
        options: of the file system, as fsspec takes them (``key``, ``endpoint_url``, ...).
        say: told of each file.

    Raises:
        UsageError: the folder is no finished build, fsspec or a library of the store is missing, or the target holds
            something else.
        DataError: the folder's shards are not those of its manifest, or a file came back damaged.
    """
    manifest = read_manifest(folder)
    store = _Store(url, options or {})
    name = _owner(store)
    if name is None and store.files():
        raise UsageError(f"{url}: is not empty and holds no copy of a build; choose another place")
    if name not in (None, manifest["name"]):
        raise UsageError(f"{url}: holds the build {name!r}; {folder} is {manifest['name']!r}. Choose another place")
    known = _digests(manifest)
    files = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] != ".build" and _belongs(path)
    )
    files.remove(MANIFEST)
    store.write(MARK, json.dumps({"name": manifest["name"]}).encode())
    store.remove(MANIFEST)
    sent = kept = size = 0
    for file in files:
        digest = digest_file(folder / file)
        if known.get(file, digest) != digest:
            raise DataError(f"{folder / file}: its content differs from what was built; see cxr-instruct verify")
        if store.digest(file, (folder / file).stat().st_size) == digest:
            kept += 1
            continue
        store.send(folder / file, file)
        if store.digest(file, (folder / file).stat().st_size) != digest:
            raise DataError(f"{url}/{file}: came back with another content; run the same command again")
        sent += 1
        size += (folder / file).stat().st_size
        if say is not None:
            say(file)
    strays = [file for file in store.files() if file not in {*files, MARK}]
    for file in strays:
        store.remove(file)
    content = (folder / MANIFEST).read_bytes()
    store.write(MANIFEST, content)
    if store.digest(MANIFEST, len(content)) != digest_bytes(content):
        raise DataError(f"{url}/{MANIFEST}: came back with another content; run the same command again")
    store.remove(MARK)
    return Copied(sent + 1, kept, len(strays), size + len(content))


def _belongs(path: Path) -> bool:
    """Not a cache that ``datasets`` left, nor a file half-written."""
    return not path.name.startswith(("cache-", "tmp", "."))


def _digests(manifest: dict[str, Any]) -> dict[str, str]:
    """File to digest, of all shards."""
    shards = [shard for task in manifest["tasks"] for split in task["splits"].values() for shard in split["shards"]]
    stored = manifest.get("images", {"sources": {}})["sources"].values()
    shards += [shard for held in stored for shard in held["shards"]]
    return {shard["file"]: shard["sha256"] for shard in shards}


class _Store:
    """A folder of an fsspec file system; files by their names below it."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self._url = url
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise UsageError("copying needs fsspec: pip install 'cxr-instruct[remote]'") from None
        try:
            # Listings that a file system keeps would hide what was just written.
            self._files, root = url_to_fs(url, use_listings_cache=False, **options)
        except (ImportError, TypeError, ValueError) as error:
            raise UsageError(f"{url}: {error}") from None
        self._root = root.rstrip("/")

    @contextmanager
    def _at(self, name: str) -> Iterator[str]:
        """Path of a file; what the store says against it, whatever its library calls that, is told in one line."""
        try:
            yield f"{self._root}/{name}"
        except FileNotFoundError:
            raise
        except Exception as error:
            why = str(error).splitlines() or [type(error).__name__]
            raise DataError(
                f"{self._url}/{name}: {why[0]}; run the same command again, it goes on from there"
            ) from error

    def files(self) -> list[str]:
        with self._at(""):
            try:
                found = self._files.find(self._root)
            except FileNotFoundError:
                return []
            return [path.rpartition(f"{self._root}/")[2] for path in found]

    def read(self, name: str) -> bytes | None:
        with suppress(FileNotFoundError), self._at(name) as path:
            return bytes(self._files.cat_file(path))
        return None

    def write(self, name: str, content: bytes) -> None:
        with self._at(name) as path:
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(path, content)

    def send(self, file: Path, name: str) -> None:
        with self._at(name) as path:
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(file), path)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError), self._at(name) as path:
            self._files.rm_file(path)

    def digest(self, name: str, size: int) -> str | None:
        """Digest of a file of this size, read back; None where it is not there or has another size."""
        with suppress(FileNotFoundError), self._at(name) as path:
            if self._files.info(path)["size"] != size:
                return None
            digest = hashlib.sha256()
            with self._files.open(path, "rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
            return digest.hexdigest()
        return None


def _owner(store: _Store) -> str | None:
    """Name of the build whose copy the target is, whole or not."""
    for name in (MANIFEST, MARK):
        content = store.read(name)
        if content is not None:
            try:
                return str(json.loads(content)["name"])
            except (ValueError, KeyError, TypeError):
                return ""
    return None
