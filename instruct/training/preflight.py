"""Preflight: everything a run would stumble over, found before a model is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from instruct.build.files import write_json
from instruct.errors import DataError
from instruct.mixture.index import MixtureIndex, Part, build_index
from instruct.mixture.rows import open_rows
from instruct.training.base import base_fingerprint, model_processor
from instruct.training.exclusions import TOO_LONG, Exclusion, write_exclusions
from instruct.training.images import ImageFault, open_image
from instruct.training.lengths import Lengths
from instruct.training.measures import Measures, measure_index, only_rows
from instruct.training.processor import processor_backend
from instruct.training.recipe import TrainingRecipe
from instruct.training.validation import choose_rows

REPORT = "check.json"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Checked:
    """What was found in one "[Task] [Dataset]" and split.

    Attributes:
        label: ``[Task] [Dataset]``.
        split: ``train``, ``validation`` or ``test``.
        rows: rows that the mixture may draw.
        usable: rows without a fault.
        images: images of the usable rows.
        tokens: tokens of the usable rows, image tokens included.
        longest: tokens of the longest row, usable or too long.
        supervised: supervised tokens of the usable rows.
        excluded: reason → rows left out.
    """

    label: str
    split: str
    rows: int
    usable: int
    images: int
    tokens: int
    longest: int
    supervised: int
    excluded: Mapping[str, int]


@dataclass(frozen=True)
class Segment:
    """A piece of an example as the model sees it.

    Attributes:
        text: tokens read back as text; a run of one image token is written once, with its length.
        supervised: whether the loss counts it.
    """

    text: str
    supervised: bool


@dataclass(frozen=True)
class Preflight:
    """The outcome of :func:`check`.

    Attributes:
        parts: per "[Task] [Dataset]" and split.
        exclusions: rows left out; also in ``exclusions.jsonl`` of the run's folder.
        images: distinct images that were decoded.
        processor: classes that read texts and images.
        supervision: how the supervised part is told: ``generation marks`` or ``prefix difference``.
        notes: what a user should know, in sentences.
        example: label and id of the example that is shown; empty where no row is usable.
        segments: it.
        list: the exclusion list.
    """

    parts: tuple[Checked, ...]
    exclusions: tuple[Exclusion, ...]
    images: int
    processor: str
    supervision: str
    notes: tuple[str, ...]
    example: str
    segments: tuple[Segment, ...]
    list: Path

    def as_json(self) -> dict[str, Any]:
        """Plain data, without the exclusions, which have a file of their own."""
        plain = {name: value for name, value in asdict(self).items() if name != "exclusions"}
        return {**plain, "excluded": len(self.exclusions), "list": str(self.list)}

    def refuse_nothing(self) -> None:
        """Make sure that there is something to train on.

        Raises:
            DataError: no row of the training split is usable; with what was left out, and why.
        """
        training = [part for part in self.parts if part.split == "train"]
        if not any(part.usable for part in training):
            reasons: Counter[str] = Counter()
            for part in training:
                reasons.update(part.excluded)
            counted = ", ".join(f"{reason} {number:,}" for reason, number in reasons.most_common())
            raise DataError(
                f"nothing to train on: of {sum(part.rows for part in training):,} rows none is usable"
                f"{f' ({counted}); {self.list} lists them' if counted else ''}"
            )


def check(recipe: TrainingRecipe, *, workers: int = 1, say: Say | None = None) -> Preflight:
    """Look at every row that a run would draw: render, measure, decode its images, find its supervised part.

    Writes ``exclusions.jsonl``, which the plan of the run reads, and ``check.json`` into the run's folder; what was
    measured is kept there for the run.

    Args:
        recipe: the run's recipe.
        workers: processes that measure, and threads that decode.
        say: told of each step.

    Raises:
        DataError: the processor, its chat template or the data cannot be used at all.
        SpecError: the mixture's recipe is invalid.
    """
    processor = model_processor(recipe.model)
    found = [_check_split(index, recipe, processor, workers, say or (lambda text: None)) for index in _indexes(recipe)]
    exclusions = tuple(exclusion for split in found for exclusion in split.exclusions)
    example, segments = _example(found[0], processor)
    report = Preflight(
        parts=tuple(part for split in found for part in split.parts),
        exclusions=exclusions,
        images=sum(split.images for split in found),
        processor=processor_backend(processor),
        supervision=Lengths(processor).supervision.method,
        notes=tuple(_notes(recipe, processor, found)),
        example=example,
        segments=segments,
        list=write_exclusions(recipe.out, exclusions),
    )
    write_json(recipe.out / REPORT, report.as_json())
    return report


@dataclass(frozen=True)
class _Split:
    index: MixtureIndex
    parts: tuple[Checked, ...]
    exclusions: tuple[Exclusion, ...]
    images: int
    unclosed: int


def _indexes(recipe: TrainingRecipe) -> list[MixtureIndex]:
    """The training rows, and those that the run evaluates on."""
    mixture = recipe.mixture_recipe()
    indexes = [build_index(mixture, "train")]
    if recipe.evaluation is not None:
        held_out = build_index(mixture, recipe.evaluation.split)
        indexes.append(only_rows(held_out, choose_rows(held_out, recipe.evaluation.max_rows, recipe.plan.seed)))
    return indexes


def _check_split(index: MixtureIndex, recipe: TrainingRecipe, processor: Any, workers: int, say: Say) -> _Split:
    measures = measure_index(
        index, processor, recipe.out, tokenized_by=base_fingerprint(recipe.model), workers=workers, say=say
    )
    faults = [{fault.row: (fault.id, fault.reason, fault.detail) for fault in part} for part in measures.faults]
    for number, part in enumerate(index.parts):
        long = np.flatnonzero(measures.length[number] > recipe.plan.max_length)
        for row, name in zip(long.tolist(), _ids(part, long), strict=True):
            detail = f"{measures.length[number][row]} tokens; plan.max_length is {recipe.plan.max_length}"
            faults[number][row] = (name, TOO_LONG, detail)
    images = _decode(index, faults, workers, say)
    exclusions = tuple(
        Exclusion(part.label, index.split, row, *faults[number][row], part.digest)
        for number, part in enumerate(index.parts)
        for row in sorted(faults[number])
    )
    parts = tuple(
        _checked(part, number, measures, faults[number])
        for number, part in enumerate(index.parts)
        if len(_candidates(part))
    )
    return _Split(index, parts, exclusions, images, sum(measures.unclosed))


def _candidates(part: Part) -> Any:
    """Rows that are drawn at all."""
    return part.candidates if part.draws else part.candidates[:0]


def _ids(part: Part, rows: Any) -> list[str]:
    if not len(rows):
        return []
    ids: list[str] = open_rows(part).column("id").take(pa.array(rows)).to_pylist()
    return ids


def _checked(part: Part, number: int, measures: Measures, faults: Mapping[int, tuple[str, str, str]]) -> Checked:
    rows = _candidates(part)
    usable = np.array([row for row in rows.tolist() if row not in faults], np.int64)
    length = measures.length[number]
    return Checked(
        label=part.label,
        split=part.split,
        rows=len(rows),
        usable=len(usable),
        images=int(measures.images[number][usable].sum()),
        tokens=int(length[usable].sum()),
        longest=int(length[rows].max(initial=0)),
        supervised=int(measures.supervised[number][usable].sum()),
        excluded=dict(sorted(Counter(reason for _, reason, _ in faults.values()).items())),
    )


def _decode(index: MixtureIndex, faults: list[dict[int, tuple[str, str, str]]], workers: int, say: Say) -> int:
    """Decode every image of the rows that have no fault yet, each once; adds the faults and counts the images."""
    opened = [open_rows(part) for part in index.parts]
    users: dict[tuple[Path, str], list[tuple[int, int, int]]] = {}  # image → part, row and place of each use
    for number, part in enumerate(index.parts):
        rows = [row for row in _candidates(part).tolist() if row not in faults[number]]
        keys = opened[number].take(rows).column("keys").to_pylist() if rows else []
        for row, key in zip(rows, keys, strict=True):
            for place, image in enumerate(key["images"]):
                users.setdefault((part.folder, image), []).append((number, row, place))
    if users:
        say(f"decoding {len(users):,} images of {index.split}")

    def problem(uses: list[tuple[int, int, int]]) -> tuple[str, str] | None:
        number, row, place = uses[0]
        try:
            open_image(opened[number][row], place)
        except ImageFault as fault:
            return str(fault.reason), fault.detail
        return None

    with ThreadPoolExecutor(workers) as pool:
        for uses, found in zip(users.values(), pool.map(problem, users.values()), strict=True):
            if found is not None:
                for number, row, _ in uses:
                    faults[number].setdefault(row, (opened[number][row]["id"], *found))
    return len(users)


def _example(training: _Split, processor: Any) -> tuple[str, tuple[Segment, ...]]:
    """The first usable row of the training split, token by token."""
    left_out = {(entry.label, entry.data, entry.row) for entry in training.exclusions}
    for part in training.index.parts:
        for row in _candidates(part).tolist():
            if (part.label, part.digest, row) not in left_out:
                example = open_rows(part)[row]
                return f"{part.label} {example['id']}", tuple(_segments(example, processor))
    return "", ()


def _segments(row: Mapping[str, Any], processor: Any) -> list[Segment]:
    tokens = Lengths(processor).tokens(row)
    ids, supervised = tokens.ids.tolist(), tokens.supervised.tolist()
    special = set(processor.tokenizer.all_special_ids)
    segments: list[Segment] = []
    start = 0
    while start < len(ids):
        end = start + 1
        alike = ids[start] in special  # a run of one control token, such as the tokens of an image
        while end < len(ids) and supervised[end] == supervised[start]:
            if (ids[end] in special) != alike or (alike and ids[end] != ids[start]):
                break
            end += 1
        text = processor.tokenizer.decode(ids[start : start + 1] if alike else ids[start:end])
        text += f" × {end - start} " if alike and end - start > 1 else ""
        if segments and segments[-1].supervised == supervised[start]:
            segments[-1] = Segment(segments[-1].text + text, supervised[start])
        else:
            segments.append(Segment(text, supervised[start]))
        start = end
    return segments


def _notes(recipe: TrainingRecipe, processor: Any, splits: list[_Split]) -> list[str]:
    from transformers import AutoTokenizer

    notes = []
    if AutoTokenizer.from_pretrained(recipe.model.id, revision=recipe.model.revision).pad_token is None:
        pad = processor.tokenizer.pad_token
        also = ", which also ends an answer; padding is masked by its place, so the end is still learnt"
        ends = also if pad == processor.tokenizer.eos_token else ""
        notes.append(f"The tokenizer has no padding token; {pad!r} is used{ends}.")
    if Lengths(processor).supervision.method == "prefix difference":
        notes.append(
            "The chat template has no generation marks: the supervised part is what each assistant turn adds to the "
            "prompt before it. Look at the example."
        )
    if unclosed := sum(split.unclosed for split in splits):
        notes.append(
            f"{unclosed:,} rows end their answer without a control token: the model does not learn to stop after them."
        )
    long = sum(entry.reason == TOO_LONG for split in splits for entry in split.exclusions)
    if long and recipe.plan.on_too_long == "error":
        notes.append(f"{long:,} rows are too long, and plan.on_too_long is error: the run will stop.")
    return notes
