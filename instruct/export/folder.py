"""The folder of an export: claimed, emptied of an earlier export, and finished by ``export.json``, written last."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from instruct.build.files import HashingFile, locked, read_json, write_bytes, write_json, writing
from instruct.digest import digest_bytes
from instruct.errors import UsageError

# What an export tells of itself: without it, it is not finished.
EXPORT = "export.json"
_WORK = ".export"


def overlap(one: Path, other: Path) -> bool:
    """Whether two folders are the same, or one lies in the other."""
    one, other = one.resolve(), other.resolve()
    return one.is_relative_to(other) or other.is_relative_to(one)


class ExportFolder:
    """A folder that an export is written into.

    Attributes:
        path: the folder.
        files: name below the folder to size and SHA-256 of each file written, but for images.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.files: dict[str, dict[str, Any]] = {}

    @property
    def staging(self) -> Path:
        """Folder for files that have no name yet."""
        return self.path / _WORK / "staged"

    @contextmanager
    def file(self, name: str) -> Iterator[HashingFile]:
        """Write a file of the export; it appears whole or not at all."""
        with writing(self.path / name) as file:
            yield file
        self.files[name] = {"bytes": file.size, "sha256": file.sha256}

    def write(self, name: str, content: str) -> None:
        """Write a small text file of the export."""
        write_bytes(self.path / name, content.encode())
        self.files[name] = {"bytes": len(content.encode()), "sha256": digest_bytes(content)}

    def adopt(self, staged: str, name: str) -> None:
        """Give a file of the staging folder its name; it was written as ``.export/staged/...`` by :meth:`file`."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.path / staged).replace(target)
        self.files[name] = self.files.pop(staged)

    @contextmanager
    def claimed(self) -> Iterator[dict[str, Any]]:
        """Hold the folder, empty, for as long as the block runs.

        Yields what the block puts the facts of the export into; they are written when it ends without an error.

        Raises:
            UsageError: the folder holds something else, if only beside an earlier export, is a file, or another process
                exports into it.
        """
        work = self.path / _WORK
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path}: cannot be an output folder: it is a file; choose another --out")
        ours = (self.path / EXPORT).is_file() or work.is_dir()
        others = sorted(path.name for path in self.path.iterdir()) if self.path.is_dir() and not ours else []
        if others:
            raise UsageError(f"{self.path}: is not empty ({others[0]}) and holds no export; choose another --out")
        if foreign := self._foreign():
            raise UsageError(f"{self.path}: {foreign[0]} is no part of the export there; choose another --out")
        with locked(work / "lock", "export"):
            (self.path / EXPORT).unlink(missing_ok=True)  # first: what is left from here on is no whole export
            for path in self.path.iterdir():
                if path != work:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            shutil.rmtree(self.staging, ignore_errors=True)
            facts: dict[str, Any] = {}
            yield facts
            write_json(self.path / EXPORT, facts | {"files": dict(sorted(self.files.items()))})
            shutil.rmtree(work)

    def _foreign(self) -> list[str]:
        """Files beside a finished export that it does not name; its images it does not, but they have their folder."""
        facts = read_json(self.path / EXPORT)
        if facts is None:
            return []
        ours, folders = {EXPORT, *facts.get("files", ())}, {_WORK, *(["images"] if facts.get("images") else [])}
        names = (path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if not path.is_dir())
        return sorted(name for name in names if name not in ours and name.partition("/")[0] not in folders)
