"""A folder of a store that fsspec knows: S3, Google Cloud Storage, Azure, HDFS, SFTP, another disk.

Nothing is asked of the store but that a file which was written whole can be read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from instruct.build.files import writing
from instruct.errors import DataError, UsageError

_BLOCK = 8 << 20


class RemoteFolder:
    """Files by their names below a URL.

    Args:
        url: such as ``s3://bucket/rex-instruct``.
        options: of the file system, as fsspec takes them (``key``, ``endpoint_url``, ...).

    Raises:
        UsageError: fsspec or the library of the store is missing, or the options are not its.
    """

    def __init__(self, url: str, options: dict[str, Any] | None = None) -> None:
        self.url = url
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise UsageError(f"{url}: needs fsspec: pip install 'cxr-instruct[remote]'") from None
        try:
            # Listings that a file system keeps would hide what was just written.
            self._files, root = url_to_fs(url, use_listings_cache=False, **(options or {}))
        except (ImportError, TypeError, ValueError) as error:
            raise UsageError(f"{url}: {error}") from None
        self._root = root.rstrip("/")

    @property
    def local(self) -> Path | None:
        """The folder, where it is on a disk of this machine."""
        protocol = self._files.protocol
        return Path(self._root or "/") if "file" in ([protocol] if isinstance(protocol, str) else protocol) else None

    @contextmanager
    def _at(self, name: str) -> Iterator[str]:
        """Path of a file; what the store says against it, whatever its library calls that, is told in one line."""
        try:
            yield f"{self._root}/{name}"
        except (FileNotFoundError, DataError):
            raise
        except Exception as error:
            why = str(error).splitlines() or [type(error).__name__]
            raise DataError(
                f"{self.url}/{name}: {why[0]}; run the same command again, it goes on from there"
            ) from error

    def names(self) -> list[str]:
        """Names of all files."""
        with self._at(""):
            try:
                found = self._files.find(self._root)
            except FileNotFoundError:
                return []
            root = self._root.lstrip("/")
            return [path.lstrip("/").removeprefix(root).lstrip("/") for path in found]

    def read(self, name: str) -> bytes | None:
        """Content of a small file; None where it is not there."""
        with suppress(FileNotFoundError), self._at(name) as path:
            return bytes(self._files.cat_file(path))
        return None

    def write(self, name: str, content: bytes) -> None:
        """Write a small file."""
        with self._made(name) as path:
            self._files.pipe_file(path, content)

    def send(self, file: Path, name: str) -> None:
        """Write a file of this machine."""
        with self._made(name) as path:
            self._files.put_file(str(file), path)

    @contextmanager
    def _made(self, name: str) -> Iterator[str]:
        """Path of a file to be written, whose folder is there."""
        try:
            with self._at(name) as path:
                self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
                yield path
        except FileNotFoundError as error:
            raise DataError(f"{self.url}/{name}: cannot be written: {error}") from error

    def fetch(self, name: str, file: Path) -> str:
        """Read a file into one of this machine, and give its digest.

        Raises:
            DataError: it is not there, or this machine's disk is full.
        """
        try:
            with self._at(name) as path, self._files.open(path, "rb") as source, writing(file) as target:
                while block := source.read(_BLOCK):
                    target.write(block)
                return target.sha256
        except FileNotFoundError:
            raise DataError(f"{self.url}/{name}: is not there") from None

    def remove(self, name: str) -> None:
        """Remove a file that may not be there."""
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

    def deliver(self, file: Path, name: str, digest: str) -> bool:
        """Make sure that a file is there, and read it back; whether it had to be sent.

        Raises:
            DataError: it came back with another content.
        """
        size = file.stat().st_size
        if self.digest(name, size) == digest:
            return False
        self.send(file, name)
        if self.digest(name, size) != digest:
            raise DataError(f"{self.url}/{name}: came back with another content; run the same command again")
        return True
