"""Where the shipped task specs, templates and recipes are: in a wheel, an editable install or a source tree."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(folder: str) -> Path:
    """Path of a shipped folder.

    Args:
        folder: ``task_specs``, ``templates`` or ``recipes``.

    Raises:
        FileNotFoundError: the installation lacks the folder.
    """
    for path in (_PACKAGE / "_data" / folder, _PACKAGE.parent / folder):
        if path.is_dir():
            return path
    raise FileNotFoundError(f"{folder}/ is missing from this installation of cxr-instruct (looked beside {_PACKAGE})")
