"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from instruct.errors import DataError, UsageError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]+\.tmp")


class HashingFile(io.RawIOBase):
    """A file being written, and the digest and size of what has been written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        """Yes: nothing else can be done with it."""
        return True

    def write(self, data: Any) -> int:
        """Append bytes."""
        self._digest.update(data)
        self.size += len(data)
        return self._file.write(data)

    @property
    def sha256(self) -> str:
        """Digest of everything written so far."""
        return self._digest.hexdigest()


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Say what to do where the system refuses to write a file.

    Raises:
        DataError: no space is left, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        mend = "make room" if error.errno in _NO_ROOM else "see to it, or choose another folder,"
        raise DataError(
            f"{path}: cannot be written: {why}. What is finished is kept; {mend} and run the same command again"
        ) from None


def check_writable(folder: Path) -> None:
    """Look whether a folder can be written, or made, before the work whose results it is to hold; it is not made.

    Raises:
        DataError: it cannot.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = "is not writable" if there.is_dir() else "is no folder"
        raise DataError(f"{folder}: cannot be written ({there} {why}); choose another folder")


@contextmanager
def writing(path: Path, sync: bool = True) -> Iterator[HashingFile]:
    """Write a file through a temporary name: synced to disk, then renamed, when the block ends without an error.

    Args:
        path: the file.
        sync: whether to wait for the disk, so that the file is whole even where the machine loses power.

    Raises:
        DataError: no space is left, or the folder cannot be written.
    """
    # As _TEMPORARY says. Processes of several machines may write into one folder, with equal numbers.
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with explaining(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                yield HashingFile(file)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that killed processes left below a folder; nobody may be writing into it."""
    for file in folder.rglob(".*.tmp"):
        if _TEMPORARY.fullmatch(file.name):
            file.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, sync: bool = True) -> None:
    """Write a file whole or not at all (see :func:`writing`)."""
    with writing(path, sync) as file:
        file.write(content)


def write_json(path: Path, value: Any, sync: bool = True) -> None:
    """Write a JSON file the same way, readable and with a fixed key order."""
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode(), sync)


def write_text(path: Path, text: str) -> None:
    """Write a text file the same way."""
    write_bytes(path, text.encode())


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file.

    Raises:
        DataError: no space is left, or the file cannot be written.
    """
    with explaining(path), path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file that this package wrote; None where it is absent or broken."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


@contextmanager
def locked(path: Path, what: str = "build", shared: bool = False) -> Iterator[None]:
    """Hold a lock file for as long as the block runs; the system drops it if the process dies.

    Args:
        path: the lock file, two levels below the folder it guards.
        what: what another process is said to be doing there.
        shared: whether others that hold it shared may hold it at the same time.

    Raises:
        UsageError: another process holds it, or it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b", buffering=0)
    except OSError as error:
        raise UsageError(
            f"{path.parent.parent}: cannot be an output folder: {error.strerror}; choose another --out"
        ) from None
    with file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise UsageError(
                f"{path.parent.parent}: another {what} is writing into this folder"
                f" (process {file.read().decode().strip() or '?'});"
                " wait for it, or choose another --out"
            ) from None
        file.truncate(0)
        with suppress(OSError):  # on a full disk the message above cannot name the process
            file.write(str(os.getpid()).encode())
        yield
