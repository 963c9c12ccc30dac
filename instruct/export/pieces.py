"""Pieces of a build on a store: where machines share no disk, each sends its piece there, and ``merge`` fetches them.

Shards are named by their content's address, so that all pieces may be sent to one place at the same time. What is known
of a shard is sent after it: a result without its shard is nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from instruct.build.files import write_bytes
from instruct.build.output import OutputFolder
from instruct.digest import digest_bytes
from instruct.errors import DataError, UsageError
from instruct.export.remote import RemoteFolder
from instruct.export.store import Copied

_NAME, _RESULTS, _SHARDS = "name.json", "results", "shards"


def holds_piece(folder: Path) -> bool:
    """Whether a folder holds a piece, and no finished build."""
    output = OutputFolder(folder)
    return not output.manifest and any((output.work / _RESULTS).glob("*.json"))


def send_piece(
    folder: Path, url: str, options: dict[str, Any] | None = None, say: Callable[[str], None] | None = None
) -> Copied:
    """Send the finished shards of a piece to a URL, beside those of others.

    Args:
        folder: the folder of the piece.
        url: the place for the pieces of one build.
        options: of the file system, as fsspec takes them.
        say: told of each shard.

    Raises:
        UsageError: the place holds pieces of another build.
        DataError: a shard is damaged, here or there.
    """
    output, store = OutputFolder(folder), RemoteFolder(url, options)
    name = (output.work / _NAME).read_bytes()
    held = store.read(_NAME)
    if held not in (None, name):
        raise UsageError(f"{url}: holds pieces of the build {_text(held)}, not of {_text(name)}; choose another place")
    if held is None:
        if store.names():
            raise UsageError(f"{url}: is not empty and holds no pieces; choose another place")
        store.write(_NAME, name)
    sent = kept = size = 0
    for file in sorted((output.work / _RESULTS).glob("*.json")):
        found = output.find(file.stem, verify=False)
        if found is None:  # of a shard that is gone; the piece makes it again
            continue
        result, shard = found
        new = store.deliver(shard, f"{_SHARDS}/{file.stem}.arrow", result.sha256)
        store.deliver(file, f"{_RESULTS}/{file.name}", digest_bytes(file.read_bytes()))
        sent, kept, size = sent + new, kept + (not new), size + new * result.bytes
        if new and say is not None:
            say(shard.name)
    return Copied(sent, kept, 0, 0, size)


def fetch_pieces(url: str, folder: Path, options: dict[str, Any] | None = None) -> None:
    """Fetch the pieces of a place into a folder, as one piece that a build can take.

    Args:
        url: the place.
        folder: the folder; need not exist.
        options: of the file system, as fsspec takes them.

    Raises:
        UsageError: the place holds no pieces.
        DataError: a shard is missing or damaged there.
    """
    store, output = RemoteFolder(url, options), OutputFolder(folder)
    name = store.read(_NAME)
    if name is None:
        raise UsageError(f"{url}: holds no pieces of a build; `cxr-instruct copy PIECE {url}` sends them there")
    write_bytes(output.work / _NAME, name)
    for file in sorted(file for file in store.names() if file.startswith(f"{_RESULTS}/")):
        content = store.read(file) or b""
        key = Path(file).stem
        if store.fetch(f"{_SHARDS}/{key}.arrow", output.staged(key)) != json.loads(content)["sha256"]:
            raise DataError(f"{url}/{_SHARDS}/{key}.arrow: is damaged; send the piece again")
        write_bytes(output.result_file(key), content)


def _text(name: bytes | None) -> str:
    return repr(json.loads(name or b'""'))
