"""Content digests: the one way this package names bytes, plain data, files and Arrow columns.

Every digest is SHA-256 in hexadecimal. Nothing here depends on time, place, memory layout or the
version of a library: equal content always has the equal digest.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_IMPORT = re.compile(r"^[ \t]*(?:from|import)[ \t]+([\w.]+)", re.MULTILINE)


def digest_bytes(data: bytes | memoryview | str) -> str:
    """Digest of bytes, or of the UTF-8 form of a text."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def digest_json(value: Any) -> str:
    """Digest of plain data (dicts, lists, strings, numbers, booleans, None); key order does not matter."""
    return digest_bytes(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False))


def digest_file(path: Path) -> str:
    """Digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_code(modules: Iterable[str]) -> str:
    """Digest of the source text of importable modules, so that a change of code renews what it made."""
    return digest_json({name: digest_file(_source_of(name)) for name in modules})


def imported_code(module: str) -> list[str]:
    """A module and all modules of its own distribution that it imports by their full names, and they in turn.

    Args:
        module: its name; the distribution is told by the part before the first dot.
    """
    found, package = [module], module.partition(".")[0]
    for name in found:
        text = _source_of(name).read_text("utf-8")
        found += dict.fromkeys(
            other for other in _IMPORT.findall(text) if other.partition(".")[0] == package and other not in found
        )
    return sorted(found)


def _source_of(module: str) -> Path:
    from importlib.util import find_spec

    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    return Path(spec.origin)


def digest_batch(batch: pa.RecordBatch) -> str:
    """Digest of a record batch by value: names, types, validity, lengths and data of every column.

    Slicing, chunking and unused buffer bytes make no difference.
    """
    digest = hashlib.sha256()
    for field, column in zip(batch.schema, batch.columns, strict=True):
        digest.update(f"{field.name}:{field.type};".encode())
        _update(digest, column)
    return digest.hexdigest()


def _update(digest: Any, array: pa.Array) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    valid = np.asarray(array.is_valid()) if array.null_count else None
    digest.update(len(array).to_bytes(8, "little"))
    digest.update(b"all" if valid is None else np.packbits(valid).tobytes())
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        digest.update(np.asarray(pc.fill_null(pc.list_value_length(array), 0), dtype=np.int64).tobytes())
        _update(digest, array.flatten())
    elif pa.types.is_struct(kind):
        for child in array.flatten():
            _update(digest, child)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        array = pc.fill_null(array, "") if valid is not None else array
        offset_type = np.int64 if pa.types.is_large_string(kind) else np.int32
        _, offsets, data = array.buffers()
        ends = np.frombuffer(offsets, dtype=offset_type)[array.offset : array.offset + len(array) + 1]
        digest.update(np.diff(ends).astype(np.int64).tobytes())
        if data is not None and len(ends):
            digest.update(memoryview(data)[int(ends[0]) : int(ends[-1])])
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        digest.update(repr(array.to_pylist()).encode())
    else:
        zero = pa.scalar(0).cast(kind) if not pa.types.is_boolean(kind) else pa.scalar(False)
        digest.update(np.ascontiguousarray(pc.fill_null(array, zero) if valid is not None else array).tobytes())
