"""Arrow without pandas, for as long as nobody imports pandas.

With the first list that it is given, Arrow imports pandas, to know its objects when it sees them. That takes a quarter
of a second of every command, and most have no such objects. Arrow asks once: here it is told that there is no pandas,
and to look again as soon as somebody has imported it. What it makes of a pandas object is then the same as ever.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

_PANDAS, _ARROW = "pandas", "pyarrow"


def leave_pandas() -> None:
    """Let Arrow do without pandas until it is imported; for a process of our own, before Arrow is imported."""
    if _ARROW not in sys.modules and _PANDAS not in sys.modules:
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Sees Arrow and pandas being imported."""

    def __init__(self) -> None:
        self._then: dict[str, Callable[[], None]] = {_ARROW: self._let_arrow_ask, _PANDAS: _let_arrow_look_again}
        self._denied = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module as the other finders find it, with what is to be done once it is imported."""
        if self._denied and fullname == _PANDAS:
            raise ModuleNotFoundError(f"No module named {_PANDAS!r}", name=_PANDAS)
        if fullname not in self._then:
            return None
        then = self._then.pop(fullname)  # so that the other finders are asked
        spec = find_spec(fullname)
        self._then[fullname] = then
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def run_then(module: ModuleType) -> None:
            run(module)
            self._then.pop(fullname, None)
            then()

        spec.loader.exec_module = run_then  # type: ignore[method-assign]
        return spec

    def _let_arrow_ask(self) -> None:
        import pyarrow as pa

        if _PANDAS in sys.modules:  # which imports Arrow
            return
        self._denied = True
        try:
            pa.array([None])
        finally:
            self._denied = False


def _let_arrow_look_again() -> None:
    if _ARROW in sys.modules:
        import pyarrow as pa

        pa.nulls(0).to_pandas()
