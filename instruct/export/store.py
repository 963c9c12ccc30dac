"""Copy a finished folder to a store that has neither renames nor locks.

A build or an export is made on a local disk, where it is memory-mapped and renamed. Of the copy, the file that says
that it is whole goes first and comes last, and every file is read back before it counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instruct.build.files import read_json
from instruct.build.output import MANIFEST
from instruct.build.verify import read_manifest
from instruct.digest import digest_bytes, digest_file
from instruct.errors import DataError, UsageError
from instruct.export.folder import EXPORT
from instruct.export.remote import RemoteFolder

# Says whose the target is as long as the file that comes last is not there; the last thing to be removed.
MARK = "copying.json"


@dataclass(frozen=True)
class Copied:
    """What a copy did.

    Attributes:
        sent: files sent.
        kept: files that were there already, by digest.
        removed: files of an earlier copy that the folder no longer has.
        bytes: bytes sent.
    """

    sent: int
    kept: int
    removed: int
    bytes: int


def copy_to(
    folder: Path, url: str, options: dict[str, Any] | None = None, say: Callable[[str], None] | None = None
) -> Copied:
    """Copy a finished build or export to a URL that fsspec knows. One that was broken off goes on where it stopped.

    Args:
        folder: the folder.
        url: the target, such as ``s3://bucket/rex-instruct``; one copy at a time goes there.
        options: of the file system, as fsspec takes them (``key``, ``endpoint_url``, ...).
        say: told of each file.

    Raises:
        UsageError: the folder is neither, fsspec or a library of the store is missing, or the target holds something
            else.
        DataError: the folder's files are not those that were written, or a file came back damaged.
    """
    last, owner, known = _described(folder)
    store = RemoteFolder(url, options)
    held = _owner(store)
    if held is None and set(store.names()) - {MARK}:
        raise UsageError(f"{url}: is not empty and holds no copy; choose another place")
    if held not in (None, owner):
        raise UsageError(f"{url}: holds {held}; {folder} is {owner}. Choose another place")
    files = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] != ".build" and _belongs(path)
    )
    files.remove(last)
    store.write(MARK, json.dumps(owner).encode())
    for name in _LAST:
        store.remove(name)
    sent = kept = size = 0
    for file in files:
        digest = digest_file(folder / file)
        if known.get(file, digest) != digest:
            raise DataError(f"{folder / file}: its content differs from what was written; make the folder again")
        if not store.deliver(folder / file, file, digest):
            kept += 1
            continue
        sent += 1
        size += (folder / file).stat().st_size
        if say is not None:
            say(file)
    strays = [file for file in store.names() if file not in {*files, MARK}]
    for file in strays:
        store.remove(file)
    content = (folder / last).read_bytes()
    store.deliver(folder / last, last, digest_bytes(content))
    store.remove(MARK)
    return Copied(sent + 1, kept, len(strays), size + len(content))


# Of each kind of folder the file that is written last, and who it says it is.
_LAST: dict[str, Callable[[Any], str]] = {
    MANIFEST: lambda facts: f"the build {facts['name']!r}",
    EXPORT: lambda facts: f"an export of {facts['build']['name']!r} to {facts['to']}",
}


def _described(folder: Path) -> tuple[str, str, dict[str, str]]:
    """The file that is written last, what the folder is, and the digests that are known of its files."""
    facts = read_json(folder / EXPORT)
    if facts is not None:
        return EXPORT, _LAST[EXPORT](facts), {name: file["sha256"] for name, file in facts["files"].items()}
    manifest = read_manifest(folder)
    return MANIFEST, _LAST[MANIFEST](manifest), _digests(manifest)


def _belongs(path: Path) -> bool:
    """Not a cache that ``datasets`` left, nor a file half-written."""
    return not path.name.startswith(("cache-", "tmp", "."))


def _digests(manifest: dict[str, Any]) -> dict[str, str]:
    """File to digest, of all shards."""
    shards = [shard for task in manifest["tasks"] for split in task["splits"].values() for shard in split["shards"]]
    stored = manifest.get("images", {"sources": {}})["sources"].values()
    shards += [shard for held in stored for shard in held["shards"]]
    return {shard["file"]: shard["sha256"] for shard in shards}


def _owner(store: RemoteFolder) -> str | None:
    """What the target holds a copy of, whole or not; on some stores a file can be seen half-written."""
    mark = _json(store.read(MARK))
    if isinstance(mark, str):
        return mark
    for name, tell in _LAST.items():
        content = store.read(name)
        if content is not None:
            try:
                return tell(_json(content))
            except (KeyError, TypeError):
                return f"a {name} of something else"
    return None


def _json(content: bytes | None) -> Any:
    try:
        return json.loads(content or b"")
    except ValueError:
        return None
