"""What an evaluation says: results per part, per-study scores, and the files they are written to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from instruct.digest import digest_json
from instruct.errors import UsageError
from instruct.evaluation.metric import Values
from instruct.evaluation.pairs import POLICY, Group
from instruct.evaluation.results import Comparison, Part, Result
from instruct.evaluation.statistics import paired_test

if TYPE_CHECKING:
    import pyarrow as pa

    from instruct.evaluation.scores import ScoreFile

FORMAT = "cxr-instruct-summary/1"


@dataclass(frozen=True)
class Report:
    """The outcome of :func:`instruct.evaluation.evaluate`.

    Attributes:
        parts: one per task, dataset and split, sorted.
        inputs: role to the file's name and SHA-256.
        versions: of this package and of what it computes with.
        seed: of the bootstrap and the paired test.
        resamples: of the bootstrap.
        leaderboard: "" or ``rexrank``.
        comparisons: tests against another system.
    """

    parts: tuple[Part, ...]
    inputs: tuple[Mapping[str, str], ...]
    versions: Mapping[str, str]
    seed: int
    resamples: int
    leaderboard: str = ""
    comparisons: tuple[Comparison, ...] = ()

    def result(self, name: str) -> Result:
        """A result of a report that has one part.

        Raises:
            UsageError: there are several parts, or no such result; the message says why.
        """
        if len(self.parts) != 1:
            raise UsageError(f"the report has {len(self.parts)} parts; take one of report.parts")
        (part,) = self.parts
        if name in part.results:
            return part.results[name]
        if name in part.skipped:
            skip = part.skipped[name]
            raise UsageError(f"{name}: n/a ({skip.reason}); {skip.remedy}")
        raise UsageError(f"no result {name!r}; the report has {', '.join(part.results)}")

    @property
    def identity(self) -> str:
        """What the scores are and what made them, as a digest: reports that agree in it can be compared."""
        return digest_json(self._origin())[:16]

    def _origin(self) -> dict[str, Any]:
        """Definition and direction of each result, versions, and what the scores were made with."""
        made_with = {name: what for part in self.parts for name, what in part.made_with.items()}
        definitions = {
            result.name: {"definition": result.definition, "direction": result.direction, "columns": result.columns}
            for part in self.parts
            for result in part.results.values()
        }
        return {"versions": dict(self.versions), "made_with": made_with, "definitions": definitions}

    def summary(self) -> dict[str, Any]:
        """The whole report as plain JSON data."""
        return {
            "format": FORMAT,
            "evaluation": self.identity,
            "versions": dict(self.versions),
            "inputs": [dict(entry) for entry in self.inputs],
            "policy": POLICY,
            "seed": self.seed,
            "resamples": self.resamples,
            "parts": [part.as_json() for part in self.parts],
            "comparisons": [comparison.as_json() for comparison in self.comparisons],
        }

    def markdown(self) -> str:
        """The report as Markdown tables."""
        from instruct.evaluation.tables import report_markdown

        return report_markdown(self)

    def table(self) -> pa.Table:
        """Per-study scores: one row per given study, null where a study or a part has no such score."""
        import pyarrow as pa

        names = list(dict.fromkeys(name for part in self.parts for name in part.columns))
        data: dict[str, list[Any]] = {
            name: [] for name in ("id", "evaluation", *Group._fields, "scored", "empty_prediction", *names)
        }
        for part in self.parts:
            data["id"] += part.ids
            for name in Group._fields:
                data[name] += [getattr(part.group, name)] * part.n_given
            data["scored"] += part.scored
            data["empty_prediction"] += part.empty
            for name in names:
                column = part.columns.get(name)
                data[name] += [None] * part.n_given if column is None else _plain(column)
        data["evaluation"] = [self.identity] * len(data["id"])
        return pa.table(data)

    def write(self, folder: str | Path) -> list[Path]:
        """Write ``scores.parquet``, ``scores.jsonl``, ``summary.json`` and ``summary.md`` into a folder.

        Where a judge was asked, ``judgements-<metric>.jsonl`` keeps its outputs, in the form that is read back. The
        Parquet file's metadata hold definitions, versions and what the scores were made with; every row names them by
        their digest, ``evaluation``.

        Returns:
            The paths, those four first.
        """
        import pyarrow.parquet as pq

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        origin = {"evaluation": self.identity, **self._origin()}
        table = self.table().replace_schema_metadata({"cxr_instruct": json.dumps(origin, sort_keys=True)})
        paths = [folder / name for name in ("scores.parquet", "scores.jsonl", "summary.json", "summary.md")]
        pq.write_table(table, paths[0])
        lines = (json.dumps(row, ensure_ascii=False) for row in table.to_pylist())
        paths[1].write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        summary = json.dumps(self.summary(), indent=2, ensure_ascii=False, allow_nan=False)
        paths[2].write_text(summary + "\n", encoding="utf-8")
        paths[3].write_text(self.markdown(), encoding="utf-8")
        return paths + self._write_judgements(folder)

    def _write_judgements(self, folder: Path) -> list[Path]:
        lines: dict[str, list[str]] = {}
        for part in self.parts:
            for metric, outputs in part.outputs.items():
                lines.setdefault(metric, []).extend(
                    json.dumps({"id": study, **part.group._asdict(), "output": output}, ensure_ascii=False)
                    for study, output, scored in zip(part.ids, outputs, part.scored, strict=True)
                    if scored
                )
        paths = [folder / f"judgements-{metric}.jsonl" for metric in lines]
        for path, rows in zip(paths, lines.values(), strict=True):
            path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        return paths

    def compare(self, other: str | Path, *, trials: int = 10_000) -> tuple[Comparison, ...]:
        """Test every mean of this report against the per-study scores of another system.

        Args:
            other: the other system's ``scores.parquet`` or ``scores.jsonl``.
            trials: random swaps per test.

        Raises:
            DataError: the file does not hold the same studies, or none of the same scores.
        """
        from instruct.evaluation.catalogue import all_columns
        from instruct.evaluation.scores import read_scores

        file = read_scores(other, all_columns())
        using = [part for part in self.parts if _common(part, file)]
        file.check_ids({part.group: part.ids for part in self.parts}, {part.group: part.ids for part in using})
        if not (found := self.compared(file, trials=trials).comparisons):
            raise file.nothing_to_compare()
        return found

    def compared(self, other: ScoreFile, *, trials: int = 10_000) -> Report:
        """This report with the tests of :meth:`compare`, and a note on what has no study with both scores."""
        parts, found = [], []
        for part in self.parts:
            common = _common(part, other)
            theirs = other.for_ids(part.group, part.ids) if common else {}
            without = []
            for result in common:
                (column,) = result.columns
                ours, against = part.columns[column], theirs[column]
                if np.isfinite(ours + against).any():
                    key = f"{part.group}:{column}"
                    test = paired_test(ours, against, name=key, seed=self.seed, trials=trials)
                    found.append(Comparison(str(part.group), result.name, result.label, result.direction, column, test))
                else:
                    without.append(result.name)
            note = f"not compared with {other.name}, no study has both scores: {', '.join(without)}"
            parts.append(replace(part, notes=(*part.notes, note)) if without else part)
        return replace(self, parts=tuple(parts), comparisons=tuple(found))


def _common(part: Part, other: ScoreFile) -> list[Result]:
    """Means of a part that the other system's file has a column for."""
    return [
        result
        for result in part.results.values()
        if len(result.columns) == 1 and not result.name.startswith("inv_") and result.columns[0] in other.columns
    ]


def _plain(column: Values) -> list[Any]:
    if column.ndim == 1:
        return [None if np.isnan(value) else value for value in column.tolist()]
    return [None if np.isnan(row).any() else row.tolist() for row in column]
