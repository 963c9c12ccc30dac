"""YAML files with 1.2 semantics and positions: ``yes`` is a text, a key stands once, an error names line and column.

The usual loader follows YAML 1.1, in which ``[yes, no]`` means ``[true, false]`` and a second key silently wins;
in a file of answer options both corrupt data.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from instruct.errors import SpecError

_Model = TypeVar("_Model", bound=BaseModel)
Location = tuple[int | str, ...]


_TAG = "tag:yaml.org,2002:"
# Of a plain value that is no text; Python refuses to read integers of some thousands of digits.
_LONGEST_SCALAR = 400


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Core schema of YAML 1.2, on libyaml where it is there."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}
    # The key None is for all other tags: an error.
    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        tag: yaml.SafeLoader.yaml_constructors[tag] for tag in (_TAG + "str", _TAG + "seq", _TAG + "map", None)
    }


def _add_scalar(name: str, pattern: str, first: list[str], convert: Callable[[str], Any]) -> None:
    """Teach the loader a type of plain value: what it looks like, its possible first letters, and how it is read."""
    whole = re.compile(rf"(?:{pattern})\Z")

    def construct(loader: _Loader, node: yaml.ScalarNode) -> Any:
        text = str(loader.construct_scalar(node))
        if not whole.match(text) or len(text) > _LONGEST_SCALAR:
            raise yaml.constructor.ConstructorError(None, None, f"{text[:40]!r} is no {name}", node.start_mark)
        return convert(text)

    _Loader.add_implicit_resolver(_TAG + name, whole, first)
    _Loader.add_constructor(_TAG + name, construct)


_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
_add_scalar("null", "~|null|Null|NULL|", ["~", "n", "N", ""], lambda text: None)
_add_scalar("bool", "true|True|TRUE|false|False|FALSE", list("tTfF"), lambda text: text.lower() == "true")
_add_scalar(
    "int", "[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789"),
    lambda text: int(text, 0) if text.startswith(("0o", "0x")) else int(text),
)  # fmt: skip
_add_scalar(
    "float", _FLOAT, list("-+.0123456789"),
    lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
)  # fmt: skip


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
            faults: dict[Location, list[Any]] = {}
            for fault in error.errors():  # a value that may be of several kinds has a fault for each
                faults.setdefault(self._written(fault), []).append(fault)
            # Of a value that could be of another kind, what is wrong inside of it tells more.
            inside = {place[:depth] for place in faults for depth in range(len(place))}
            told = [place for place, several in faults.items() if place not in inside or not _of_another_kind(several)]
            raise SpecError([self._explain(place, faults[place], model) for place in told]) from None

    def _written(self, fault: Any) -> Location:
        """The place of a fault as it is written in the file: pydantic names kinds of values on the way too."""
        written: list[str | int] = []
        value = self.data
        for part in fault["loc"]:
            listed = isinstance(value, list) and isinstance(part, int) and part < len(value)
            if listed or (isinstance(value, dict) and part in value):
                written.append(part)
                value = value[part]
        return (*written, fault["loc"][-1]) if fault["type"] == "missing" else tuple(written)

    def _explain(self, location: Location, faults: list[Any], model: type[BaseModel]) -> str:
        where = ".".join(str(part) for part in location) or "the file"
        fault = faults[0]
        if fault["type"] == "extra_forbidden":
            message = f"unknown key{_suggestion(location, model)}"
        elif fault["type"] == "missing":
            message = "this key is required"
        else:
            first, *others = dict.fromkeys(_INSTANCE.sub("mapping", other["msg"]) for other in faults)
            message = first.removeprefix("Value error, ")
            for other in others:
                kind = other.removeprefix("Input should be ")
                message += f"; {other}" if kind == other else f" or {kind}"
            if isinstance(fault["input"], str | int | float | bool):
                message += f", not {fault['input']!r}"
        return f"{self.place(location)}: {where}: {message}"


def _of_another_kind(faults: list[Any]) -> bool:
    return all(fault["type"] == "literal_error" or fault["type"].endswith("_type") for fault in faults)


_INSTANCE = re.compile(r"(?:valid )?dictionary(?: or instance of \w+)?")


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
        SpecError: as :func:`read_text` and :func:`parse_yaml`.
    """
    return parse_yaml(path, read_text(path))


def read_text(path: Path) -> str:
    """Text of a file.

    Raises:
        SpecError: the file cannot be read, or is no text.
    """
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}:1:1: cannot be read: {error}") from None


def parse_yaml(path: Path, text: str) -> YamlFile:
    """The YAML of a text.

    Args:
        path: the file it was read from, for messages.
        text: the text.

    Raises:
        SpecError: the text is no YAML, has a key twice in one mapping, a key that is a list or a mapping, or an alias
            that holds itself.
    """
    walk = _Walk(path)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            walk.visit(node, (), ())
        if walk.problems:
            raise SpecError(walk.problems)
        return YamlFile(path, loader.construct_document(node) if node is not None else None, walk.places)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise SpecError(f"{path}:{line}:{column}: not valid YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        raise SpecError(f"{path}:{line}:1: not valid YAML: {error.reason}") from None
    except RecursionError:
        raise SpecError(f"{path}:1:1: nested too deep") from None


def load_value(text: str) -> Any:
    """A single value in the notation of YAML 1.2, as on the right of ``key=value``."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError:
        return text


class _Walk:
    """A walk over the nodes of a file: where every value stands, and what is wrong with keys and aliases.

    A node that several aliases name is entered once, so that aliases of aliases cost nothing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places: dict[Location, tuple[int, int]] = {}
        self.problems: list[str] = []
        self._entered: set[int] = set()

    def visit(self, node: yaml.Node, location: Location, around: tuple[yaml.Node, ...]) -> None:
        self.places[location] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if node in around:
            self._refuse(around[-1], "an alias holds itself")
        if id(node) in self._entered:
            return
        self._entered.add(id(node))
        around = (*around, node)
        if isinstance(node, yaml.MappingNode):
            self._visit_mapping(node, location, around)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.visit(item, (*location, index), around)

    def _visit_mapping(self, node: yaml.MappingNode, location: Location, around: tuple[yaml.Node, ...]) -> None:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._refuse(key_node, "a key must be a plain text")
                continue
            key = key_node.value
            line = key_node.start_mark.line + 1
            if key in seen:
                self._refuse(key_node, f"key {key!r} stands twice (first on line {seen[key]})")
            seen[key] = line
            self.visit(value_node, (*location, key), around)
            self.places[(*location, key)] = (line, key_node.start_mark.column + 1)

    def _refuse(self, node: yaml.Node, problem: str) -> None:
        self.problems.append(f"{self.path}:{node.start_mark.line + 1}:{node.start_mark.column + 1}: {problem}")
