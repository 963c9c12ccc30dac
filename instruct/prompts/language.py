"""The tags that this package adds to Jinja, and how they parse.

============================================  ====================================================================
``{% images any %}``, ``none``, a number      how many images an example has (once, at the top)
``{% inputs indication %}``                   record columns that every variant's prompt must use
``{% target findings %}``                     record columns that every variant's answer must use, and no prompt
``{% variant %} ... {% endvariant %}``        one conversation; ``{% variant 2 %}`` is drawn twice as often
``{% system %}``, ``{% user %}``,             one turn, up to its ``{% endsystem %}``, ``{% enduser %}``,
``{% assistant %}``                           ``{% endassistant %}``
``{{ images }}``, ``{{ image(0) }}``          all images, or one, at this place of a user turn
``image_count``                               number of images of the example
============================================  ====================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from instruct.prompts.marks import MAX_IMAGES, ROLES


@dataclass
class Turn:
    """One turn of a variant: its role, line and body."""

    role: str
    line: int
    body: list[nodes.Node]


@dataclass
class Variant:
    """One conversation of a template.

    Attributes:
        line: where it stands in the file.
        weight: how often it is drawn, relative to the others.
        setup: statements before and between the turns (``{% set %}``).
        turns: its turns, in order.
    """

    line: int
    weight: int
    setup: list[nodes.Node] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)


@dataclass
class Declarations:
    """What the top of a template declares."""

    images: str | int | None = None
    inputs: list[str] = field(default_factory=list)
    target: list[str] = field(default_factory=list)


class ConversationExtension(Extension):
    """Parses the tags into marked ``Scope`` nodes and :class:`Declarations`, which the compiler then takes apart."""

    tags = {"images", "inputs", "target", "variant", *ROLES}  # noqa: RUF012 - the base class declares it so

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """Parse one tag."""
        token = next(parser.stream)
        name = token.value
        if name == "variant":
            return self._variant(parser, token.lineno)
        if name in ROLES:
            return self._turn(parser, name, token.lineno)
        marker = nodes.Scope([], lineno=token.lineno)
        marker.declares = (name, self._names(parser, name, token.lineno))  # type: ignore[attr-defined]
        return marker

    def _names(self, parser: Parser, tag: str, line: int) -> list[str | int]:
        names: list[str | int] = []
        while parser.stream.current.type != "block_end":
            token = next(parser.stream)
            if token.type == "integer" and tag == "images":
                if not 1 <= token.value <= MAX_IMAGES:  # type: ignore[operator]
                    parser.fail(f"images must be any, none or 1 to {MAX_IMAGES}", line)
                names.append(token.value)
            elif token.type == "name":
                names.append(token.value)
            else:
                parser.fail(f"unexpected {token.value!r} in {{% {tag} %}}", line)
            parser.stream.skip_if("comma")
        if tag == "images" and (len(names) != 1 or (isinstance(names[0], str) and names[0] not in ("any", "none"))):
            parser.fail("write {% images any %}, {% images none %} or a number of images", line)
        if not names:
            parser.fail(f"{{% {tag} %}} names no column", line)
        return names

    def _variant(self, parser: Parser, line: int) -> nodes.Node:
        weight = 1
        if parser.stream.current.type == "integer":
            weight = int(next(parser.stream).value)
        if weight < 1:
            parser.fail("a variant's weight is 1 or more", line)
        body = parser.parse_statements(("name:endvariant",), drop_needle=True)
        variant = Variant(line, weight)
        for node in body:
            turn = getattr(node, "turn", None)
            if turn is not None:
                variant.turns.append(turn)
            elif not _is_blank(node):
                if not isinstance(node, nodes.Assign | nodes.AssignBlock | nodes.Macro | nodes.FromImport):
                    parser.fail("only turns and {% set %} may stand directly in a variant", node.lineno)
                variant.setup.append(node)
        marker = nodes.Scope(body, lineno=line)
        marker.variant = variant  # type: ignore[attr-defined]
        return marker

    def _turn(self, parser: Parser, role: str, line: int) -> nodes.Node:
        body = parser.parse_statements((f"name:end{role}",), drop_needle=True)
        _strip_edges(body)
        marker = nodes.Scope(body, lineno=line)
        marker.turn = Turn(role, line, body)  # type: ignore[attr-defined]
        return marker


def _is_blank(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Output) and all(
        isinstance(item, nodes.TemplateData) and not item.data.strip() for item in node.nodes
    )


def _strip_edges(body: list[nodes.Node]) -> None:
    """Drop the white space of the file's layout at both ends of a turn."""
    for edge, side in ((0, "lstrip"), (-1, "rstrip")):
        while body and isinstance(body[edge], nodes.Output):
            output = body[edge]
            assert isinstance(output, nodes.Output)
            item = output.nodes[edge] if output.nodes else None
            if isinstance(item, nodes.TemplateData):
                item.data = getattr(item.data, side)()
                if item.data:
                    break
                output.nodes.pop(edge)
                continue
            if item is None:
                body.pop(edge)
                continue
            break
