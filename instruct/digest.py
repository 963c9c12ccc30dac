"""Content digests: the one way this package names bytes, plain data, files and Arrow columns.

Every digest is SHA-256 in hexadecimal. Nothing here depends on time, place, memory layout or the
version of a library: equal content always has the equal digest.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


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
    from importlib.util import find_spec

    sources = {}
    for name in modules:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(name)
        sources[name] = digest_file(Path(spec.origin))
    return digest_json(sources)


@cache
def digest_package(module: str) -> str:
    """Digest of the source texts of the package that an imported module lies in; of the module alone if in none.

    Of a module that is no file, such as one typed in by hand, it is that of nothing.
    """
    held = sys.modules[module]
    origin = getattr(held, "__file__", None)
    if origin is None:
        return digest_json({})
    file = Path(origin)
    files = sorted(file.parent.rglob("*.py")) if held.__package__ else [file]
    return digest_json({path.relative_to(file.parent).as_posix(): digest_file(path) for path in files})


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
