"""The audit as a gate of the build: by key, before the manifest closes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from instruct.audit.audit import audit
from instruct.audit.overlaps import KeyIndex
from instruct.audit.result import recipe_line
from instruct.build.files import write_json
from instruct.errors import DataError
from instruct.specs.recipe import Recipe

AUDIT = "audit.json"
# Lines of a message; audit.json has all findings.
_SHOWN = 10


def audit_build(
    folder: Path, manifest: dict[str, Any], index: KeyIndex, recipe: Recipe, tell: Callable[..., None]
) -> None:
    """Audit a build whose shards are published, and leave the result in its folder.

    Report texts and pictures are not compared: that takes longer than most builds. ``cxr-instruct audit`` does it.

    Raises:
        DataError: there are findings, and the recipe says ``audit: fail``.
    """
    if recipe.audit == "off":
        (folder / AUDIT).unlink(missing_ok=True)
        return
    result = audit(folder, manifest, exceptions=recipe.audit_exceptions, texts=False, index=index)
    write_json(folder / AUDIT, result.to_json())
    tell("audit", leaks=len(result.findings), accepted=len(result.accepted))
    if result.findings and recipe.audit == "fail":
        lines = [f"leak: {item}" for item in result.findings[:_SHOWN]]
        if len(result.findings) > _SHOWN:
            lines.append(f"... and {len(result.findings) - _SHOWN} more leaks in {folder / AUDIT}")
        lines.append(f"Mend them in the recipe with {recipe_line(result.fix)}")
        lines.append("or accept them under audit_exceptions, with a reason; finished shards are kept.")
        raise DataError("\n".join(lines))
