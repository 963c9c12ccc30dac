"""Markdown of a report: one table per part, what was not scored, and a leaderboard's own columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

from instruct.evaluation.pairs import POLICY
from instruct.evaluation.report import Report
from instruct.evaluation.results import Part, Result
from instruct.evaluation.tasks.kinds import REPORT, kind_of

REXRANK = {
    "inv_radcliq_v1": "1/RadCliQ-v1",
    "bleu2": "BLEU",
    "bertscore": "BertScore",
    "sembscore": "SembScore",
    "radgraph_f1": "RadGraph",
    "ratescore": "RaTEScore",
    "green": "GREEN",
    "inv_fineradscore": "1/FineRadScore",
}
_DIGEST = re.compile(r"([0-9a-f]{12})[0-9a-f]{52}")
_ARROW = {"higher": "↑", "lower": "↓"}


def report_markdown(report: Report) -> str:
    """The whole report in Markdown, ending in a line break."""
    blocks = []
    for part in report.parts:
        blocks += _part(part)
        if report.leaderboard == "rexrank" and kind_of(part.group.task) == REPORT:
            blocks += [rexrank_table(part), _HABIT]
    if report.comparisons:
        blocks.append("Against the other system (paired approximate randomisation, two-sided):")
        blocks.append(
            table(
                ("Part", "Metric", "This", "Other", "Difference", "p", "n"),
                [
                    (
                        item.part,
                        f"{item.label} {_ARROW[item.direction]}",
                        _number(item.test.mean_a),
                        _number(item.test.mean_b),
                        f"{item.test.difference:+.4f}",
                        f"{item.test.p_value:.4f}",
                        str(item.test.n),
                    )
                    for item in report.comparisons
                ],
            )
        )
    blocks.append(f"Policy: {POLICY}")
    versions = ", ".join(f"{name} {number}" for name, number in sorted(report.versions.items()))
    files = "; ".join(f"{entry['role']} {entry['file']} (sha256 {entry['sha256'][:12]})" for entry in report.inputs)
    blocks.append(
        f"Evaluation {report.identity}, made with {versions}; seed {report.seed}, {report.resamples} resamples."
        + (f" {files}." if files else "")
    )
    return "\n\n".join(blocks) + "\n"


_HABIT = (
    "Intervals in this table follow the board's habit: beside a reciprocal stands the half width of the *raw* mean, "
    "which is no interval of the reciprocal. The table above has the right one."
)


def rexrank_table(part: Part) -> str:
    """One row with ReXrank's columns and three decimals; ``n/a (reason)`` where there is no value."""
    return table(tuple(REXRANK.values()), [tuple(_rexrank_cell(part, name) for name in REXRANK)])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _part(part: Part) -> list[str]:
    title = str(part.group) + (f", {part.section}" if part.section else "")
    without = part.n_given - part.n_scored
    blocks = [
        f"## {title}",
        f"{part.n_given} given, {part.n_scored} scored, {without} without reference, "
        f"{sum(part.empty)} empty predictions.",
        table(
            ("Metric", "", "Value", "95 % interval", "n", "Definition", "Interval by"),
            [
                *(
                    (
                        result.label,
                        _ARROW[result.direction],
                        _value(result),
                        "" if result.ci95 is None else f"[{_number(result.ci95[0])}, {_number(result.ci95[1])}]",
                        f"{result.n_scored}/{part.n_given}",
                        result.definition + ("" if result.origin == "computed" else f"; {result.origin}"),
                        result.ci_method,
                    )
                    for result in part.results.values()
                ),
                *(
                    (skip.label, "", f"n/a ({skip.reason})", "", f"0/{part.n_given}", "", "")
                    for skip in part.skipped.values()
                ),
            ],
        ),
    ]
    remedies: dict[str, list[str]] = {}
    for skip in part.skipped.values():
        remedies.setdefault(skip.remedy, []).append(skip.label)
    if remedies:
        lines = (f"- {', '.join(labels)}: {remedy}" for remedy, labels in remedies.items())
        blocks.append("Not scored:\n" + "\n".join(lines))
    counted = [f"{name.replace('_', ' ')}: {number}" for name, number in sorted(part.counts.items())]
    if part.made_with:
        lines = (f"- {name}: {_DIGEST.sub(_shorten, what)}" for name, what in sorted(part.made_with.items()))
        blocks.append("Scored with:\n" + "\n".join(lines))
    if counted or part.notes:
        blocks.append("\n".join(f"- {line}" for line in (*counted, *part.notes)))
    return blocks


def _shorten(digest: re.Match[str]) -> str:
    return digest.group(1)


def _value(result: Result) -> str:
    if result.value is None:
        return f"n/a ({result.reason})"
    return _number(result.value) + ("" if result.half_width is None else f" ± {_number(result.half_width)}")


def _rexrank_cell(part: Part, name: str) -> str:
    result = part.results.get(name)
    if result is None:
        return f"n/a ({part.skipped[name].reason})" if name in part.skipped else "n/a (not asked for)"
    if result.value is None:
        return f"n/a ({result.reason})"
    width = result.reciprocal.ci95_leaderboard if result.reciprocal is not None else result.half_width
    return f"{result.value:.3f}" + ("" if width is None else f" ± {width:.3f}")


def _number(value: float) -> str:
    return f"{value:.4f}"
