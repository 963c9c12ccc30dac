"""The digest of the code that makes shards covers all that it imports, but for what cannot change a byte."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

from instruct.build.job import _CODE

# What makes no bytes of its own: errors, digests, how files are written and opened, stored images (their content is in
# the key).
_BESIDE = {
    "instruct.build.files", "instruct.digest", "instruct.errors", "instruct.images", "instruct.model",
    "instruct.prompts.source", "instruct.reasons", "instruct.resources", "instruct.shard", "instruct.sources",
    "instruct.specs",
}  # fmt: skip


def test_every_import_is_digested_or_named_here() -> None:
    missing = set()
    for name in _CODE:
        spec = find_spec(name)
        assert spec is not None and spec.origin is not None
        for node in ast.walk(ast.parse(Path(spec.origin).read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("instruct"):
                missing.add(str(node.module))
    left = {
        name for name in missing - set(_CODE) if not any(name == one or name.startswith(f"{one}.") for one in _BESIDE)
    }
    assert left == set()
