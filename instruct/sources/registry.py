"""The sources this package reads, and those that other distributions add.

A third party registers a reader under the entry-point group ``cxr_instruct.sources``: the entry's name is the
source's name, its value the :class:`~instruct.sources.base.Source`.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from instruct.errors import UsageError
from instruct.sources.base import Source

GROUP = "cxr_instruct.sources"

_MODULES = {
    "mimic_cxr": "instruct.sources.mimic_cxr",
    "cxr_lt": "instruct.sources.cxr_lt",
    "chestxray14": "instruct.sources.chestxray14",
    "chexpert": "instruct.sources.chexpert",
    "brax": "instruct.sources.brax",
    "padchest": "instruct.sources.padchest",
    "mimic_cxr_vqa": "instruct.sources.mimic_cxr_vqa",
    "mimic_diff_vqa": "instruct.sources.mimic_diff_vqa",
    "mimic_nle": "instruct.sources.mimic_nle",
    "ms_cxr": "instruct.sources.ms_cxr",
    "ms_cxr_t": "instruct.sources.ms_cxr_t",
    "openi": "instruct.sources.openi",
    "rad_restruct": "instruct.sources.rad_restruct",
    "radgraph": "instruct.sources.radgraph",
    "radnli": "instruct.sources.radnli",
    "radqa": "instruct.sources.radqa",
    "rexgradient": "instruct.sources.rexgradient",
    "rexval": "instruct.sources.rexval",
    "covidx_cxr3": "instruct.sources.covidx_cxr3",
    "object_cxr": "instruct.sources.object_cxr",
    "rsna": "instruct.sources.rsna",
    "siim": "instruct.sources.siim",
    "vindr_cxr": "instruct.sources.vindr_cxr",
    "vindr_pcxr": "instruct.sources.vindr_pcxr",
}


@cache
def _entry_points() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def source_names() -> list[str]:
    """Names of every source that can be read, sorted."""
    return sorted({*_MODULES, *_entry_points()})


@cache
def get_source(name: str) -> Source:
    """The source of a name.

    Raises:
        UsageError: no such source; the message suggests the nearest name.
    """
    if name in _MODULES:
        source = import_module(_MODULES[name]).SOURCE
    elif name in _entry_points():
        source = _entry_points()[name].load()
    else:
        near = get_close_matches(name, source_names(), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"no source is called {name!r}.{hint} Known: {', '.join(source_names())}")
    if not isinstance(source, Source):
        raise UsageError(
            f"entry point {name!r} of {GROUP} must be an instruct.sources.Source, not {type(source).__name__}"
        )
    return source
