"""Templates: checked, and compiled so that a whole batch renders in one call.

Jinja calls cost far more than the text they give. So the loop over the records is put *inside* the template: the
compiled form is one function that takes rows and yields text, the record's columns being its local variables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from types import CodeType
from typing import Any

from jinja2 import Template, TemplateSyntaxError, meta, nodes

from instruct.errors import SpecError
from instruct.prompts.environment import TemplateEnvironment
from instruct.prompts.language import Declarations, Variant
from instruct.prompts.marks import END, MAX_IMAGES, ROLES, image_mark
from instruct.prompts.source import TemplateSource, parse_template

# Names a template may use beside the record's columns.
_GIVEN = frozenset({"images", "image_count"})
_VARIANT = "_variant"


class CompiledTemplate:
    """A parsed template, ready to render batches.

    Args:
        source: the template's text.
        dialect: how regions are printed (see :mod:`instruct.prompts.dialect`).

    Raises:
        SpecError: the template does not parse, or its tags are not in order.
    """

    def __init__(self, source: TemplateSource, dialect: str = "thousand") -> None:
        self.source = source
        self._environment = TemplateEnvironment(dict(source.texts), dialect)
        tree = parse_template(self._environment, source.texts[0][1], source.path)
        self._setup: list[nodes.Node] = []
        self.declarations = Declarations()
        self.variants: list[Variant] = []
        for node in tree.body:
            self._take(node)
        self._check_shape()

    def _take(self, node: nodes.Node) -> None:
        if hasattr(node, "variant"):
            self.variants.append(node.variant)
        elif hasattr(node, "declares"):
            tag, names = node.declares
            if getattr(self.declarations, tag):
                raise self._error(node.lineno, f"{{% {tag} %}} stands twice")
            setattr(self.declarations, tag, names[0] if tag == "images" else names)
        elif isinstance(node, nodes.Import | nodes.FromImport | nodes.Macro | nodes.Assign | nodes.AssignBlock):
            self._setup.append(node)
        elif hasattr(node, "turn"):
            raise self._error(node.lineno, "a turn must stand in a {% variant %}")
        elif not _is_layout(node):
            raise self._error(node.lineno, "text outside of {% variant %} would be lost")

    def _check_shape(self) -> None:
        if not self.variants:
            raise self._error(1, "the template has no {% variant %}")
        if self.declarations.images is None:
            raise self._error(1, "say how many images an example has: {% images any %}, {% images none %} or a number")
        if not self.declarations.target:
            raise self._error(1, "say which columns make the answer: {% target ... %}")
        for variant in self.variants:
            roles = [turn.role for turn in variant.turns]
            talk = roles[1:] if roles[:1] == ["system"] else roles
            if not talk or len(talk) % 2 or talk != ["user", "assistant"] * (len(talk) // 2):
                raise self._error(
                    variant.line,
                    f"a variant is an optional system turn, then user and assistant in turn; found {roles}",
                )

    def _error(self, line: int, message: str) -> SpecError:
        return SpecError(f"{self.source.path}:{line}:1: {message}")

    @cached_property
    def columns(self) -> list[str]:
        """The record columns that the template reads, sorted."""
        names = self._free_names()
        if "loop" in names:  # it would be the loop over the batch
            lines = [variant.line for variant in self.variants if "loop" in self.all_names(_statements(variant))]
            raise self._error(min(lines, default=1), "loop is there only inside {% for %}")
        return sorted(names - _GIVEN - {"image", "range"})

    def _free_names(self) -> set[str]:
        """Names that are read and not set, as Jinja finds them, which takes as long as to compile the template."""
        worded = [node for variant in self.variants for node in _statements(variant)]
        imports = [node for node in self._setup if isinstance(node, nodes.FromImport)]
        if len(imports) == len(self._setup) and _sets_nothing(worded):  # then no scope has to be looked at
            imported = {name if isinstance(name, str) else name[1] for node in imports for name in node.names}
            return self.all_names(worded) - imported
        return meta.find_undeclared_variables(self._tree([*self._setup, *worded]))

    @cached_property
    def printed(self) -> list[str]:
        """Those of :attr:`columns` that the template prints as they are and does nothing else with, sorted."""
        body = [*self._setup, *(node for variant in self.variants for node in _statements(variant))]
        used = Counter(name.name for node in body for name in node.find_all(nodes.Name))
        plain = Counter(_plainly_printed(body))
        return [name for name in self.columns if used[name] == plain[name]]

    def names_used(self, body: Iterable[nodes.Node]) -> set[str]:
        """Names of record columns that some statements of this template read."""
        return self.all_names(body) & set(self.columns)

    def all_names(self, body: Iterable[nodes.Node]) -> set[str]:
        """Every name that some statements read and do not set themselves."""
        names = [name for node in body for name in node.find_all(nodes.Name)]
        return {name.name for name in names if name.ctx == "load"} - {name.name for name in names if name.ctx != "load"}

    @property
    def weights(self) -> list[int]:
        """Weight of each variant."""
        return [variant.weight for variant in self.variants]

    def _tree(self, body: list[nodes.Node]) -> nodes.Template:
        tree = nodes.Template(body, lineno=1)
        tree.set_environment(self._environment)
        return tree

    @cached_property
    def _function(self) -> Template:
        """One loop over rows; which variant a row takes is its first value."""
        cases: list[nodes.Node] = []
        for number, variant in reversed(list(enumerate(self.variants))):
            test = nodes.Compare(nodes.Name(_VARIANT, "load"), [nodes.Operand("eq", nodes.Const(number))])
            cases = [nodes.If(test, list(_statements(variant)), [], cases, lineno=variant.line)]
        target = nodes.Tuple([nodes.Name(name, "store") for name in self._row_names], "store")
        end = nodes.Output([nodes.TemplateData(END)])
        loop = nodes.For(target, nodes.Name("_rows", "load"), [*cases, end], [], None, False, lineno=1)
        tree = self._tree([*self._setup, loop])
        try:
            _place_images(tree)
            code = self._environment.compile(tree, self.source.name, self.source.path)
        except TemplateSyntaxError as error:
            raise self._error(error.lineno, error.message or "cannot be compiled") from None
        assert isinstance(code, CodeType)
        return Template.from_code(self._environment, code, self._environment.globals)

    @cached_property
    def _row_names(self) -> list[str]:
        return [_VARIANT, "images", "image_count", *self.columns]

    def render(self, variants: Sequence[int], image_counts: Sequence[int], columns: Mapping[str, Sequence[Any]]) -> str:
        """Render a batch as one marked text (see :mod:`instruct.prompts.marks`).

        Args:
            variants: number of each record's variant.
            image_counts: number of each record's images.
            columns: values of every column in :attr:`columns`, as long as ``variants``.

        Raises:
            jinja2.TemplateError, TypeError, ValueError, ...: whatever a record's values make the template raise.
        """
        marks = {count: "".join(image_mark(index) for index in range(count)) for count in set(image_counts)}
        placed = [marks[count] for count in image_counts]
        rows: Iterator[tuple[Any, ...]] = zip(
            variants, placed, image_counts, *(columns[name] for name in self.columns), strict=True
        )
        template = self._function
        context = template.new_context({"_rows": rows})
        return "".join(template.root_render_func(context))

    def line_of(self, error: BaseException) -> int:
        """Line of the template at which an error of :meth:`render` arose; 1 where it is not known."""
        line, at = 1, error.__traceback__
        while at is not None:
            if at.tb_frame.f_code.co_filename == self.source.path and "__jinja_template__" in at.tb_frame.f_globals:
                line = self._function.get_corresponding_lineno(at.tb_lineno)
            at = at.tb_next
        return line


def compile_template(source: TemplateSource, dialect: str = "thousand") -> CompiledTemplate:
    """The compiled form of a template, made once in a process."""
    return _compiled(source, dialect)


_compiled = lru_cache(maxsize=64)(CompiledTemplate)


def _statements(variant: Variant) -> Iterator[nodes.Node]:
    yield from variant.setup
    for turn in variant.turns:
        yield nodes.Output([nodes.TemplateData(ROLES[turn.role])], lineno=turn.line)
        yield from turn.body


def _sets_nothing(body: Iterable[nodes.Node]) -> bool:
    """Whether some statements only print, some of them on a condition."""
    return all(
        isinstance(node, nodes.Output)
        or (isinstance(node, nodes.If) and _sets_nothing([*node.body, *node.elif_, *node.else_]))
        for node in body
    )


def _plainly_printed(body: Iterable[nodes.Node]) -> Iterator[str]:
    """Each name that is printed as it is, where nothing changes afterwards what is printed."""
    for node in body:
        if isinstance(node, nodes.Output):
            yield from (item.name for item in node.nodes if isinstance(item, nodes.Name))
        elif isinstance(node, nodes.If):
            yield from _plainly_printed([*node.body, *node.elif_, *node.else_])
        elif isinstance(node, nodes.For) and not node.recursive:
            yield from _plainly_printed([*node.body, *node.else_])


def _is_layout(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Output) and all(
        isinstance(item, nodes.TemplateData) and not item.data.strip() for item in node.nodes
    )


def _place_images(tree: nodes.Template) -> None:
    """Write ``image(0)`` as the mark it stands for: a constant costs nothing, a call in a sandbox much."""
    for output in tree.find_all(nodes.Output):
        for position, item in enumerate(output.nodes):
            if isinstance(item, nodes.Call) and isinstance(item.node, nodes.Name) and item.node.name == "image":
                index = item.args[0] if len(item.args) == 1 else None
                if not isinstance(index, nodes.Const) or type(index.value) is not int or index.value >= MAX_IMAGES:
                    raise TemplateSyntaxError(
                        f"write image(0), image(1), ... with a plain number below {MAX_IMAGES}", item.lineno
                    )
                output.nodes[position] = nodes.TemplateData(image_mark(index.value))
