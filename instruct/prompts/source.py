"""Template files: found by name, read with all they import."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from jinja2 import TemplateSyntaxError, nodes

from instruct.digest import digest_json
from instruct.errors import SpecError
from instruct.prompts.environment import TemplateEnvironment
from instruct.resources import shipped

SUFFIX = ".jinja"
# What every tag begins like that names another file.
_MAY_IMPORT = re.compile(r"\{%[-+]?\s*(?:from|import|include|extends|block)\b")


@dataclass(frozen=True)
class TemplateSource:
    """A template's text and that of everything it includes or imports: all that decides its rendering.

    Attributes:
        name: name of the template, without suffix.
        path: its file, for messages.
        texts: file names and their texts, the template's own first.
    """

    name: str
    path: str
    texts: tuple[tuple[str, str], ...]

    @property
    def digest(self) -> str:
        """Digest of the texts."""
        return digest_json(dict(self.texts))


def find_template(name: str, folders: Sequence[Path] = ()) -> TemplateSource:
    """Read a template and what it includes.

    Args:
        name: name without suffix.
        folders: folders looked in before the shipped ``templates/``.

    Raises:
        SpecError: there is no such template, or it includes one that is missing or named by an expression.
    """
    search = [*folders, shipped("templates")]
    texts: dict[str, str] = {}
    paths: dict[str, str] = {}

    def read(file: str, wanted_by: str) -> None:
        if Path(file).name != file:
            raise SpecError(f"{wanted_by}: {file!r} must be the name of a file in a folder of templates, not a path")
        for folder in search:
            if (folder / file).is_file():
                break
        else:
            places = ", ".join(str(folder) for folder in search)
            raise SpecError(f"{wanted_by}: there is no template {file!r} in {places}")
        paths[file] = str(folder / file)
        if folder in folders and not (folder / file).resolve().is_relative_to(folder.resolve()):
            raise SpecError(f"{paths[file]}:1:1: is a link that leads out of its folder of templates; put a copy there")
        try:
            texts[file] = (folder / file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"{folder / file}:1:1: cannot be read: {error}") from None
        # A template is parsed when it is compiled; what it imports is parsed here alone, where its file is known.
        if len(texts) == 1 and not _MAY_IMPORT.search(texts[file]):
            return
        for imported, where in _imports(texts[file], paths[file]):
            if imported not in texts:
                read(imported, where)

    read(name + SUFFIX, f"template {name}")
    return TemplateSource(name, paths[name + SUFFIX], tuple(texts.items()))


@lru_cache(maxsize=256)  # most templates import the same one
def _imports(text: str, path: str) -> tuple[tuple[str, str], ...]:
    """The files that a template's text imports, each with the place where it does."""
    tree = parse_template(TemplateEnvironment({}), text, path)
    found = []
    for node in tree.find_all((nodes.Import, nodes.FromImport, nodes.Include, nodes.Extends, nodes.Block)):
        where = f"{path}:{node.lineno}:1"
        if not isinstance(node, nodes.Import | nodes.FromImport):
            raise SpecError(
                f"{where}: include, extends and block are not for templates;"
                ' share text with {% from "file.jinja" import macro %}'
            )
        if not isinstance(node.template, nodes.Const) or not isinstance(node.template.value, str):
            raise SpecError(f"{where}: an import must name its file as a plain text")
        found.append((node.template.value, where))
    return tuple(found)


def parse_template(environment: TemplateEnvironment, text: str, path: str) -> nodes.Template:
    """Parse a template's text.

    Raises:
        SpecError: it does not parse, or uses a filter or test that is not there.
    """
    try:
        tree = environment.parse(text)
    except TemplateSyntaxError as error:
        raise SpecError(f"{path}:{error.lineno}:1: {error.message}") from None
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        assert isinstance(node, nodes.Filter | nodes.Test)
        kind, known = ("filter", environment.filters) if isinstance(node, nodes.Filter) else ("test", environment.tests)
        if node.name not in known:
            near = get_close_matches(node.name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(sorted(known))}"
            raise SpecError(f"{path}:{node.lineno}:1: there is no {kind} {node.name!r}{hint}")
    return tree
