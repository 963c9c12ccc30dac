"""Plots of statistics as SVG (or PNG): the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from instruct.build.files import writing
from instruct.errors import UsageError
from instruct.reports.markdown import plain
from instruct.reports.statistics.readers import AGE_BANDS
from instruct.reports.statistics.texts import EDGES
from instruct.specs.task_spec import SPLITS

FOLDER = "plots"
_COLOURS: dict[str, str] = dict(zip(SPLITS, ("#3b6ea8", "#d08b2c", "#4f9d69"), strict=True))
_SHOWN = 20
# Nothing of the machine or the time in a file; svg.hashsalt names the elements of an SVG.
_SETTINGS: Any = {
    "svg.hashsalt": "cxr-instruct",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
}

# Title, labels of the groups, and per split the values.
_Bars = tuple[str, list[str], dict[str, list[float]], str]


def write_plots(statistics: Mapping[str, Any], folder: Path, form: Literal["svg", "png"] = "svg") -> list[Path]:
    """Draw statistics into ``plots/`` of a folder; the plots of earlier statistics there go.

    Returns:
        The files, in order.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("plots need matplotlib: pip install 'cxr-instruct[plots]'") from None
    metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
    files = []
    with matplotlib.rc_context(_SETTINGS):
        for name, bars in _plots(statistics):
            title, groups, values, unit = bars
            wide = max(5.0, 0.32 * len(groups) * max(1, len(values)) + 1.5)
            figure = Figure(figsize=(min(wide, 14), 3.6), dpi=100, layout="constrained")
            (FigureCanvasSVG if form == "svg" else FigureCanvasAgg)(figure)
            axes = figure.add_subplot()
            step = 0.8 / len(values)
            for place, (split, heights) in enumerate(values.items()):
                at = [group + (place - (len(values) - 1) / 2) * step for group in range(len(groups))]
                axes.bar(at, heights, step, label=split, color=_COLOURS[split])
            slanted = max((len(group) for group in groups), default=0) > 7
            axes.set_xticks(
                range(len(groups)), groups, rotation=40 if slanted else 0, ha="right" if slanted else "center"
            )
            axes.set_ylabel(unit)
            axes.set_title(title, fontsize=10)
            axes.legend(frameon=False, fontsize=8)
            target = folder / FOLDER / f"{name}.{form}"
            with writing(target) as file:
                figure.savefig(cast(BinaryIO, file), format=form, metadata=metadata)
            files.append(target)
    for old in (folder / FOLDER).glob("*.*g"):
        if old not in files and old.suffix in (".svg", ".png"):
            old.unlink()
    return files


def _plots(statistics: Mapping[str, Any]) -> Iterator[tuple[str, _Bars]]:
    for name, source in statistics["sources"].items():
        splits = source["splits"]
        for key, title, names in (
            ("ages", "age in years", list(AGE_BANDS)),
            ("sexes", "sex", ["M", "F", "unknown"]),
            ("views", "view", None),
            ("images_per_study", "images per study", None),
        ):
            held = {split: facts[key] for split, facts in splits.items() if any(facts.get(key, {}).values())}
            if held:
                yield f"{_file(name)}-{key.replace('_', '-')}", _shares(f"{plain(name)}: {title}", held, names)
    for name, splits in statistics["rows"].items():
        held = {split: facts["target_words"]["histogram"] for split, facts in splits.items() if facts["examples"]}
        if held:
            last = max(place for counts in held.values() for place, number in enumerate(counts) if number)
            names = [_class(place) for place in range(last + 1)]
            counts = {split: dict(zip(names, numbers, strict=False)) for split, numbers in held.items()}
            yield f"{_file(name)}-answer-words", _shares(f"{plain(name)}: words of the answer", counts, names)
        labels = {split: facts["labels"] for split, facts in splits.items() if facts.get("labels")}
        if labels:
            whole = {split: splits[split]["records"] for split in labels}
            yield f"{_file(name)}-labels", _shares(f"{plain(name)}: label", labels, None, whole)


def _shares(
    title: str,
    held: Mapping[str, Mapping[str, int]],
    names: list[str] | None,
    whole: Mapping[str, int] | None = None,
) -> _Bars:
    """Percent of each value within its split; the most frequent values where there are many, numbers in order."""
    if names is None:
        totals: dict[str, int] = {}
        for counts in held.values():
            for value, number in counts.items():
                totals[value] = totals.get(value, 0) + number
        names = sorted(totals, key=lambda value: (-totals[value], value))[:_SHOWN]
        if all(map(str.isdecimal, names)):
            names.sort(key=int)
    values = {}
    for split in filter(held.__contains__, map(str, SPLITS)):
        total = whole[split] if whole else max(1, sum(held[split].values()))
        values[split] = [100 * held[split].get(value, 0) / total for value in names]
    return title, [plain(name)[:28] for name in names], values, "percent"


def _class(place: int) -> str:
    if place == len(EDGES) - 1:
        return f"{EDGES[place]}+"
    low, high = EDGES[place], EDGES[place + 1] - 1
    return str(low) if low == high else f"{low}-{high}"


def _file(name: str) -> str:
    return "_".join("".join(char if char.isascii() and char.isalnum() else " " for char in name.lower()).split())
