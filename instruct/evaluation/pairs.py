"""Predictions beside their references, and the one policy for what is empty or missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from instruct.errors import DataError
from instruct.evaluation.metric import is_missing

POLICY = (
    "Ids of predictions and references must be the same set without repetition. "
    "A missing, NaN or blank prediction is scored as an empty text, never dropped. "
    "A study without a reference is given but not scored. "
    "An answer that cannot be read is wrong. "
    "Of a dataset folder the tasks, datasets and splits with a prediction are scored; their examples without one are "
    "counted and not scored. "
    "A study that a metric has no score for is left out of that metric alone and shows in its n."
)


class Group(NamedTuple):
    """What is scored together: the pairs of one task, dataset and split (empty where a file names none)."""

    task: str
    dataset: str
    split: str

    def __str__(self) -> str:
        return " / ".join(part for part in self if part) or "all"


@dataclass(frozen=True)
class Pairs:
    """Studies in the order of the prediction file.

    Attributes:
        ids: one per study; unique within a group.
        predictions: texts as scored; an empty text where the file's prediction was missing, NaN or blank.
        references: texts; None where the study has none.
        extras: the other fields of each prediction row (``task``, ``target``, ``options`` …).
        section: part of the report the references are (``findings``, ``impression``, ``findings+impression``)
            or "" where the files do not say.
        notes: what reading did to the texts, for the report.
        without: of each task, dataset and split, how many examples of the references have no prediction; empty where
            they must all have one.
    """

    ids: tuple[str, ...]
    predictions: tuple[str, ...]
    references: tuple[str | None, ...]
    extras: tuple[Mapping[str, Any], ...]
    section: str = ""
    notes: tuple[str, ...] = ()
    without: Mapping[Group, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.predictions) == len(self.references) == len(self.extras):
            raise DataError(
                f"{len(self.ids)} ids, {len(self.predictions)} predictions, {len(self.references)} references and "
                f"{len(self.extras)} extras: expected one of each per study"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def texts(self) -> tuple[str, ...]:
        """References as texts; call on :meth:`scored` pairs, where only task answers can lack one."""
        return tuple(reference or "" for reference in self.references)

    def has_reference(self) -> list[bool]:
        """Per study: is there a reference text that is not blank, or a structured ``target``?"""
        return [
            bool(reference and reference.strip()) or extra.get("target") is not None
            for reference, extra in zip(self.references, self.extras, strict=True)
        ]

    def scored(self) -> Pairs:
        """The studies that have a reference."""
        return self.select([row for row, has in enumerate(self.has_reference()) if has])

    def select(self, rows: list[int]) -> Pairs:
        """The studies at these positions, in this order."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            predictions=tuple(self.predictions[row] for row in rows),
            references=tuple(self.references[row] for row in rows),
            extras=tuple(self.extras[row] for row in rows),
        )

    def groups(self) -> Iterator[tuple[Group, Pairs]]:
        """The pairs of each task, dataset and split, in sorted order."""
        rows: dict[Group, list[int]] = {}
        for row, extra in enumerate(self.extras):
            rows.setdefault(group_of(extra), []).append(row)
        for group in sorted(rows):
            yield group, self if len(rows) == 1 else self.select(rows[group])


def group_of(extra: Mapping[str, Any]) -> Group:
    """Task, dataset and split that a row names."""
    names = (extra.get(name) for name in Group._fields)
    return Group(*("" if is_missing(name) else str(name or "") for name in names))


def make_pairs(
    ids: Sequence[str],
    predictions: Sequence[str | None],
    references: Sequence[str | None],
    extras: Sequence[Mapping[str, Any]] | None = None,
    section: str = "",
    notes: tuple[str, ...] = (),
    without: Mapping[Group, int] | None = None,
) -> Pairs:
    """Pairs from lists in memory, under the same policy as files; a NaN is a missing text or field.

    Raises:
        DataError: the lists differ in length, an id repeats within its group, what should be a text is none, or nothing
            has a reference.
    """
    pairs = Pairs(
        tuple(ids),
        tuple(text if text and text.strip() else "" for text in _texts("prediction", predictions)),
        tuple(_texts("reference", references)),
        tuple(
            {name: None if is_missing(value) else value for name, value in extra.items()}
            for extra in (extras if extras is not None else [{}] * len(ids))
        ),
        section,
        notes,
        without or {},
    )
    seen: set[tuple[Group, str]] = set()
    for identity, extra in zip(pairs.ids, pairs.extras, strict=True):
        key = (group_of(extra), identity)
        if key in seen:
            raise DataError(f"id {identity!r} occurs twice in {key[0]}; every study must have one prediction")
        seen.add(key)
    if not len(pairs):
        raise DataError("no predictions: expected at least one study")
    if not any(pairs.has_reference()):
        raise DataError(
            f"none of the {len(pairs)} studies has a reference text; give --references or a file that holds them"
        )
    return pairs


def _texts(what: str, values: Sequence[Any]) -> list[str | None]:
    for place, value in enumerate(values):
        if not (isinstance(value, str) or is_missing(value)):
            raise DataError(f"{what} {place} is {type(value).__name__}; expected a text, None or NaN")
    return [value if isinstance(value, str) else None for value in values]
