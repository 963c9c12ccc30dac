"""YAML files with 1.2 semantics and positions: ``yes`` is a text, a key stands once, an error names line and column.

The usual loader follows YAML 1.1, in which ``[yes, no]`` means ``[true, false]`` and a second key silently wins;
in a file of answer options both corrupt data.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from instruct.errors import SpecError

_Model = TypeVar("_Model", bound=BaseModel)
Location = tuple[int | str, ...]


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Core schema of YAML 1.2, on libyaml where it is there."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
     list("-+.0123456789")),
):  # fmt: skip
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


@dataclass(frozen=True)
class YamlFile:
    """The content of a YAML file, with the place of every value (of its key, where it has one).

    Attributes:
        path: the file.
        data: dicts, lists, texts, numbers, booleans and None.
    """

    path: Path
    data: Any
    _places: dict[Location, tuple[int, int]]

    def place(self, location: Location) -> str:
        """``file:line:column`` of a value, or of the nearest value around it."""
        while location and location not in self._places:
            location = location[:-1]
        line, column = self._places.get(location, (1, 1))
        return f"{self.path}:{line}:{column}"

    def validate(self, model: type[_Model]) -> _Model:
        """The content as a model.

        Raises:
            SpecError: with every fault, each as ``file:line:column: where: what``, misspelt keys with a suggestion.
        """
        try:
            return model.model_validate(self.data)
        except ValidationError as error:
            raise SpecError([self._explain(fault, model) for fault in error.errors()]) from None

    def _explain(self, fault: Any, model: type[BaseModel]) -> str:
        location: Location = fault["loc"]
        where = ".".join(str(part) for part in location) or "the file"
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = f"unknown key{_suggestion(location, model)}"
        elif fault["type"] == "missing":
            message = "this key is required"
        elif isinstance(fault["input"], str | int | float | bool):
            message += f", not {fault['input']!r}"
        return f"{self.place(location)}: {where}: {message}"


def _suggestion(location: Location, model: type[BaseModel]) -> str:
    fields: list[str] = sorted(model.model_fields)
    for part in location[:-1]:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        inner = _models(field.annotation) if field is not None else []
        if inner:
            model, fields = inner[0], sorted(inner[0].model_fields)
    near = get_close_matches(str(location[-1]), fields, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(fields)}"


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models inside an annotation such as ``list[Task]`` or ``Images | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models(part)]


def load_yaml(path: Path) -> YamlFile:
    """Read a YAML file.

    Raises:
        SpecError: the file cannot be read, is no YAML, or has a key twice in one mapping.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}:1:1: cannot be read: {error}") from None
    loader = _Loader(text)
    places: dict[Location, tuple[int, int]] = {}
    problems: list[str] = []
    try:
        node = loader.get_single_node()
        if node is not None:
            _walk(loader, node, (), places, problems, path)
        data = loader.construct_document(node) if node is not None and not problems else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise SpecError(f"{path}:{line}:{column}: not valid YAML: {error.problem or error.context}") from None
    finally:
        loader.dispose()
    if problems:
        raise SpecError(problems)
    return YamlFile(path, data, places)


def load_value(text: str) -> Any:
    """A single value in the notation of YAML 1.2, as on the right of ``key=value``."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError:
        return text


def _walk(
    loader: _Loader,
    node: yaml.Node,
    location: Location,
    places: dict[Location, tuple[int, int]],
    problems: list[str],
    path: Path,
) -> None:
    places[location] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.MappingNode):
        seen: dict[Hashable, int] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if key in seen:
                column = key_node.start_mark.column + 1
                problems.append(f"{path}:{line}:{column}: key {key!r} stands twice (first on line {seen[key]})")
            seen[key] = line
            _walk(loader, value_node, (*location, key), places, problems, path)
            places[(*location, key)] = (line, key_node.start_mark.column + 1)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(loader, item, (*location, index), places, problems, path)
