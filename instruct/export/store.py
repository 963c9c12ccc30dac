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
from instruct.export.folder import EXPORT, overlap
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
        others: files there that are no part of a copy; they are left alone.
        bytes: bytes sent.
    """

    sent: int
    kept: int
    removed: int
    others: int
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
            else, or lies in the folder or around it.
        DataError: the folder's files are not those that were written, or a file came back damaged.
    """
    last, facts = _described(folder)
    owner, known = _OWNERS[last](facts), _digests(last, facts)
    files = _files_of(folder, last, facts)
    store = RemoteFolder(url, options)
    if store.local is not None and overlap(folder, store.local):
        raise UsageError(f"{url}: {folder} cannot be copied onto itself, into itself or around itself; choose another")
    held, parts = _held(store)
    if held is None and set(store.names()) - {MARK}:
        raise UsageError(f"{url}: is not empty and holds no copy; choose another place")
    if held not in (None, owner):
        raise UsageError(f"{url}: holds {held}; {folder} is {owner}. Choose another place")
    parts |= {file.partition("/")[0] for file in files}
    store.write(MARK, json.dumps({"holds": owner, "parts": sorted(parts)}).encode())
    for name in _OWNERS:
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
    others = [file for file in store.names() if file not in {*files, MARK}]
    strays = [file for file in others if file.partition("/")[0] in parts]
    for file in strays:
        store.remove(file)
    content = (folder / last).read_bytes()
    store.deliver(folder / last, last, digest_bytes(content))
    store.remove(MARK)
    return Copied(sent + 1, kept, len(strays), len(others) - len(strays), size + len(content))


# Of each kind of folder the file that is written last, and who it says it is.
_OWNERS: dict[str, Callable[[Any], str]] = {
    MANIFEST: lambda facts: f"the build {facts['name']!r}",
    EXPORT: lambda facts: f"an export of {facts['build']['name']!r} to {facts['to']}",
}
# Of a build, what not every one has and no manifest lists.
_EXTRAS = {"plots", "quarantine-images.jsonl", "statistics.json", "statistics.md", "train", "validation", "test"}


def _described(folder: Path) -> tuple[str, dict[str, Any]]:
    """The file that is written last, and what it says."""
    if not (folder / EXPORT).is_file():
        return MANIFEST, read_manifest(folder)
    facts = read_json(folder / EXPORT)
    try:
        _OWNERS[EXPORT](facts), _digests(EXPORT, facts)
    except (KeyError, TypeError, AttributeError):
        raise DataError(f"{folder / EXPORT}: is damaged; export again") from None
    return EXPORT, dict(facts)


def _files_of(folder: Path, last: str, facts: dict[str, Any]) -> list[str]:
    """Names of a folder's files, but for the last.

    Raises:
        DataError: one is missing.
    """
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {last}
    known = _digests(last, facts)
    kept = {name for name in files if name in known or not _is_beside(name, last)}
    lacking = sorted(known.keys() - kept)
    images = sum(name.startswith("images/") for name in kept)
    if not lacking and last == EXPORT and images < facts["images"]:
        lacking = [f"images/ ({images:,} of {facts['images']:,})"]
    if lacking:
        more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        raise DataError(f"{folder}: lacks {lacking[0]}{more}; make the folder again")
    return sorted(kept)


def _is_beside(name: str, last: str) -> bool:
    """Whether a file only lies there: what is needed to write, a cache that ``datasets`` left, a file half-written."""
    if last == EXPORT:
        return name.startswith(".export/")
    return name.startswith(".build/") or name.rpartition("/")[2].startswith(("cache-", "tmp", "."))


def _digests(last: str, facts: dict[str, Any]) -> dict[str, str]:
    """File to digest: of a build its shards, of an export all but images."""
    if last == EXPORT:
        return {name: file["sha256"] for name, file in facts["files"].items()}
    shards = [shard for task in facts["tasks"] for split in task["splits"].values() for shard in split["shards"]]
    stored = facts.get("images", {"sources": {}})["sources"].values()
    shards += [shard for held in stored for shard in held["shards"]]
    return {shard["file"]: shard["sha256"] for shard in shards}


def _held(store: RemoteFolder) -> tuple[str | None, set[str]]:
    """What the target holds a copy of, whole or not, and the first parts of the names of that copy's files."""
    mark = _json(store.read(MARK))  # on some stores a file can be seen half-written
    if isinstance(mark, dict) and mark.keys() == {"holds", "parts"}:
        return mark["holds"], set(mark["parts"])
    for name, tell in _OWNERS.items():
        content = store.read(name)
        if content is not None:
            try:
                facts = _json(content)
                files = {*_digests(name, facts), *(_EXTRAS if name == MANIFEST else ("images",))}
                return tell(facts), {file.partition("/")[0] for file in files}
            except (KeyError, TypeError, AttributeError):
                return f"a {name} of something else", set()
    return None, set()


def _json(content: bytes | None) -> Any:
    try:
        return json.loads(content or b"")
    except ValueError:
        return None
