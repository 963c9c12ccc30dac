"""Files that appear whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from instruct.errors import DataError, UsageError


def write_bytes(path: Path, content: Any) -> None:
    """Write a file through a temporary name: synced to disk, then renamed.

    Raises:
        DataError: no space is left, or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(
            f"{path}: cannot be written: {error.strerror}."
            " What is finished is kept; make room and run the same command again"
        ) from None


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file the same way, readable and with a fixed key order."""
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def write_text(path: Path, text: str) -> None:
    """Write a text file the same way."""
    write_bytes(path, text.encode())


def read_json(path: Path) -> Any:
    """Read a JSON file that this package wrote; None where it is absent or broken."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file for as long as the block runs; the system drops it if the process dies.

    Raises:
        UsageError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise UsageError(
                f"{path.parent.parent}: another build is writing into this folder"
                f" (process {file.read().strip() or '?'});"
                " wait for it, or choose another --out"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
