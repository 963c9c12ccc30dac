"""cxr-instruct: chest X-ray datasets to instruction-tuning data, an adapter and its scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from instruct.api import build_dataset
    from instruct.build.packed import open_packed
    from instruct.evaluation import evaluate
    from instruct.mixture.load import load_mixture
    from instruct.specs.recipe import load_recipe

__all__ = ["__version__", "build_dataset", "evaluate", "load_mixture", "load_recipe", "open_packed"]

_HOMES = {
    "build_dataset": "instruct.api",
    "load_mixture": "instruct.mixture.load",
    "load_recipe": "instruct.specs.recipe",
    "open_packed": "instruct.build.packed",
    "evaluate": "instruct.evaluation",
}


def __getattr__(name: str) -> Any:
    # Imported when first used: `import instruct` must not pay for Arrow.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'instruct' has no attribute {name!r}")
