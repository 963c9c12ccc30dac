"""The sandbox that templates run in."""

from __future__ import annotations

from collections.abc import Mapping
from types import CodeType
from typing import Any

from jinja2 import StrictUndefined
from jinja2.bccache import Bucket, BytecodeCache
from jinja2.environment import TemplateModule
from jinja2.loaders import DictLoader
from jinja2.runtime import LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

from instruct.prompts.dialect import region_filters
from instruct.prompts.filters import FILTERS
from instruct.prompts.language import ConversationExtension


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Jinja without a way out: no attributes of Python objects, no undefined names, nothing many times at one stroke.

    A template that grows a text bit by bit, with ``~`` and ``replace`` in loops, is not stopped.
    """

    intercepted_binops = frozenset(["*", "**", "%"])

    def __init__(self, sources: Mapping[str, str], dialect: str = "thousand") -> None:
        super().__init__(
            loader=DictLoader(sources),
            undefined=StrictUndefined,
            extensions=[ConversationExtension],
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
            bytecode_cache=_IMPORTED.setdefault(dialect, _InMemory()),
        )
        self.filters = {name: self.filters[name] for name in _SAFE_FILTERS} | FILTERS | region_filters(dialect)
        self.globals = {"range": self.globals["range"]}

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: D102 - the sandbox's own
        if type(obj) is Macro:  # a template's own text, which needs no examination at every call
            kwargs.pop("_loop_vars", None)
            kwargs.pop("_block_vars", None)
            return obj(*args, **kwargs)
        return super().call(context, obj, *args, **kwargs)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a name behind a dot may be read: those of a loop and of an imported file; values have none."""
        return isinstance(obj, LoopContext | TemplateModule) and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Keep no special door open for ``str.format``, which pads to any width."""

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Multiply and divide numbers only: a text times a number, or padded to one, could fill the memory."""
        if operator == "**":
            raise TypeError("operator ** is not for templates")
        if isinstance(left, str | list | tuple) or isinstance(right, str | list | tuple):
            raise TypeError(f"operator {operator} is for numbers")
        return super().call_binop(context, operator, left, right)


class _InMemory(BytecodeCache):
    """The code of files that templates import, by name and text: many templates import the same one."""

    def __init__(self) -> None:
        self._code: dict[tuple[str, str], CodeType | None] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._code.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key, bucket.checksum] = bucket.code


_IMPORTED: dict[str, _InMemory] = {}  # of each dialect: what is constant in it becomes part of the code
_SAFE_FILTERS = (
    "capitalize", "default", "first", "float", "int", "join", "last", "length", "list", "lower", "replace", "reverse",
    "round", "sort", "string", "title", "trim", "unique", "upper", "map", "select", "reject",
)  # fmt: skip
