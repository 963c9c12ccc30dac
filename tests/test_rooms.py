"""The rooms of the package: a room imports only rooms to its left, and nobody another room's private names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

ROOMS = [
    "synth", "sources", "specs", "prompts", "images", "audit", "build", "reports", "export", "mixture", "evaluation",
    "testing", "training", "cli",
]  # fmt: skip
PACKAGE = REPOSITORY / "instruct"
FOUNDATION = ["errors", "digest", "memory", "model", "polygons", "reasons", "regions", "resources", "shard"]
# Doors, through which users come in; only the command line uses them too.
DOORS = {"__init__": ROOMS[:-1], "api": ROOMS[:-1]}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(parts: tuple[str, ...]) -> str:
    """Room of a module given as the parts of its name below the package; the module itself at the top."""
    return parts[0] if parts else "__init__"


def imports(file: Path) -> Iterator[tuple[int, tuple[str, ...], str]]:
    """Line, module below the package and name of everything that a file imports from the package."""
    here = file.relative_to(REPOSITORY).with_suffix("").parts
    for node in ast.walk(ast.parse(file.read_text("utf-8"), str(file))):
        if isinstance(node, ast.ImportFrom):
            module = tuple((node.module or "").split(".")) if node.module else ()
            if node.level:
                module = (*here[: len(here) - node.level], *module)
            if module[:1] == ("instruct",):
                for alias in node.names:
                    inner = module[1:]
                    if (PACKAGE.joinpath(*inner, alias.name).with_suffix(".py")).exists() or (
                        PACKAGE.joinpath(*inner, alias.name) / "__init__.py"
                    ).exists():
                        yield node.lineno, (*inner, alias.name), ""
                    else:
                        yield node.lineno, inner, alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                parts = tuple(alias.name.split("."))
                if parts[0] == "instruct":
                    yield node.lineno, parts[1:], ""
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            first = node.args[0] if node.args else None
            if called == "import_module" and isinstance(first, ast.Constant) and str(first.value)[:9] == "instruct.":
                yield node.lineno, tuple(str(first.value).split(".")[1:]), ""


def allowed(room: str) -> list[str]:
    """Rooms that a room, or a module at the top, may import."""
    if room in ROOMS:
        return ROOMS[: ROOMS.index(room) + 1]
    return DOORS.get(room, [])


def test_every_folder_is_a_known_room():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders <= set(ROOMS)
    assert {name for name in FOUNDATION if (PACKAGE / f"{name}.py").exists()} == set(FOUNDATION)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_keeps_to_its_place(file):
    room = room_of(file.relative_to(PACKAGE).with_suffix("").parts)
    faults = []
    for line, module, name in imports(file):
        other = room_of(module)
        if other in ROOMS and other not in allowed(room):
            faults.append(f"{file}:{line}: {room} may not import {'.'.join(module)}")
        private = [part for part in (*module, name) if part.startswith("_") and not part.startswith("__")]
        if private and other != room:
            faults.append(f"{file}:{line}: {private[0]} is private to {other}")
        if other in DOORS and name not in ("", "__version__") and room not in (*DOORS, "cli"):
            faults.append(f"{file}:{line}: {room} may not come in through the door {other}")
    assert not faults, "\n".join(faults)


def test_the_check_itself_sees_a_wrong_import(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.test_rooms.REPOSITORY", tmp_path)
    file = tmp_path / "instruct" / "sources" / "x.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "from instruct.build import plan\nfrom instruct.cli.main import _secret\nimport instruct.build.job\n"
    )
    assert [(module, name) for _, module, name in imports(file)] == [
        (("build", "plan"), ""),
        (("cli", "main"), "_secret"),
        (("build", "job"), ""),
    ]
