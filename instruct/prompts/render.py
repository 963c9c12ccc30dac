"""Render records: which variant each one gets, the words it makes, and what is wrong with those that make none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instruct.buffers import text_blocks
from instruct.errors import SpecError
from instruct.prompts.conversation import Conversations, parse_conversations
from instruct.prompts.marks import CONTROL, DIGITS, MARK, MAX_IMAGES, SPECIAL_TOKEN, value_mark
from instruct.prompts.template import CompiledTemplate
from instruct.reasons import Reason

_Ints = npt.NDArray[np.int64]
_SEPARATOR = DIGITS[0]


@dataclass(frozen=True)
class Fault:
    """Why a record makes no example.

    Attributes:
        row: position of the record in the batch.
        reason: which reason of the fixed list.
        detail: what exactly, for a person.
    """

    row: int
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Rendered:
    """The examples of a batch of records.

    Attributes:
        rows: for each example, the position of its record in the batch, ascending.
        variants: for each example, the number of its variant, from 0.
        conversations: their messages, as Arrow columns.
        faults: the records that make no example, ordered by position.
    """

    rows: _Ints
    variants: _Ints
    conversations: Conversations
    faults: list[Fault] = field(default_factory=list)


def choose_variants(
    hashes: npt.NDArray[np.float64], weights: Sequence[int], count: int | Literal["all"]
) -> npt.NDArray[np.int64]:
    """Variants of each record.

    Args:
        hashes: keyed hash of each record's id, in [0, 1); shape (records,).
        weights: weight of each variant.
        count: variants per record; never more than there are.

    Returns:
        Variant numbers, shape (records, count): the first is drawn by weight, the others follow it in file order.
    """
    total = len(weights)
    bounds = np.cumsum(weights) / sum(weights)
    first = np.minimum(np.searchsorted(bounds, hashes, side="right"), total - 1)
    step = np.arange(total if count == "all" else min(count, total))
    return (first[:, None] + step[None, :]) % total


def render_records(
    template: CompiledTemplate,
    records: pa.RecordBatch,
    image_counts: Sequence[int] | _Ints,
    variants: npt.NDArray[np.int64],
) -> Rendered:
    """Render a batch of records.

    Args:
        template: the template.
        records: records with every column the template reads.
        image_counts: number of images of each record.
        variants: variants of each record, shape (records, variants per record).

    Raises:
        SpecError: the template places other images than a record has: a defect of the template, not of the record.
    """
    found = (*_text_faults(template, records), *_lacking_faults(template, records))
    faults = list({fault.row: fault for fault in found}.values())
    good = np.ones(len(records), bool)
    good[[fault.row for fault in faults]] = False
    counts = np.asarray(image_counts, np.int64)
    wording = _Wording(template, records, counts, variants)
    rows = np.flatnonzero(good)
    try:
        conversations = wording.of(rows)
    except Exception:  # whatever a template can raise, over values nobody foresaw: find the records that do it
        broken = _template_faults(template, wording, rows)
        if not broken:
            raise
        faults += broken
        good[[fault.row for fault in broken]] = False
        rows = np.flatnonzero(good)
        conversations = wording.of(rows)
    each = np.repeat(rows, variants.shape[1])
    _check_images(template, records, counts[each], each, variants[rows].ravel(), conversations)
    empty = np.unique(each[conversations.empty_answer])
    if len(empty):
        faults += [
            Fault(int(row), Reason.EMPTY_TARGET, f"{', '.join(template.declarations.target)} is empty") for row in empty
        ]
        good[empty] = False
        rows = np.flatnonzero(good)
        conversations = wording.of(rows)
    faults.sort(key=lambda fault: fault.row)
    return Rendered(np.repeat(rows, variants.shape[1]), variants[rows].ravel(), conversations, faults)


class _Wording:
    """The words of some records, put together.

    Where a template does nothing with a column but print it, its texts need not pass through the template: the template
    is rendered with marks in their places, once for all records that it words alike.
    """

    def __init__(
        self, template: CompiledTemplate, records: pa.RecordBatch, image_counts: _Ints, variants: _Ints
    ) -> None:
        self._template, self._image_counts, self._variants = template, image_counts, variants
        read = {name: records.column(name) for name in template.columns if name not in template.printed}
        self._printed = {name: _as_printed(records.column(name)) for name in template.printed}
        self._read = {name: column.to_pylist() for name, column in read.items()}
        # Records of one number are worded alike in one variant.
        self._alike = image_counts
        for column in read.values():
            self._alike = _numbered(self._alike, _numbers(column))

    def of(self, rows: _Ints) -> Conversations:
        """The conversations of some records, each in all its variants."""
        each = np.repeat(rows, self._variants.shape[1])
        keys = _numbered(self._variants[rows].ravel(), self._alike[each])
        _, first, same = np.unique(keys, return_index=True, return_inverse=True)
        wordings: _Ints | None = same
        if len(first) == len(each):  # no two are alike
            first, wordings = np.arange(len(each)), None
        marks = {name: [value_mark(number)] * len(first) for number, name in enumerate(self._printed)}
        read = {name: [column[row] for row in each[first].tolist()] for name, column in self._read.items()}
        text = self._template.render(
            self._variants[rows].ravel()[first].tolist(), self._image_counts[each[first]].tolist(), marks | read
        )
        return parse_conversations(text, wordings, list(self._printed.values()), each)


def _numbered(some: _Ints, others: _Ints) -> _Ints:
    """A number for each pair, the same for equal ones alone, below the number of pairs."""
    numbers: _Ints = np.unique(some * (int(others.max(initial=0)) + 1) + others, return_inverse=True)[1]
    return numbers


def _numbers(column: pa.Array) -> _Ints:
    """A number for each value: values of one number are equal. No two are, for types that hardly ever repeat one."""
    kind, own = column.type, np.arange(len(column))
    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        # No text that is worded holds a control character; only the length tells [] from [""].
        lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0), np.int64)
        return _numbered(lengths, _numbers(pc.binary_join(column, _SEPARATOR)))
    if not (pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return own
    codes = column.dictionary_encode().indices
    return np.where(np.asarray(codes.is_null()), len(column) + own, np.asarray(pc.fill_null(codes, 0)))


def _as_printed(column: pa.Array) -> pa.StringArray:
    """The text that a template prints for each value."""
    if not pa.types.is_string(column.type):
        return pa.array([str(value) for value in column.to_pylist()], pa.string())
    return column.fill_null("None") if column.null_count else column


def _lacking_faults(template: CompiledTemplate, records: pa.RecordBatch) -> list[Fault]:
    """Records without what every variant prints: a null would read ``None``, a blank leave a gap in the wording."""
    faults: dict[int, Fault] = {}
    declared = template.declarations
    for reason, names in ((Reason.EMPTY_TARGET, declared.target), (Reason.TEMPLATE_ERROR, declared.inputs)):
        for name in names:
            if name not in template.columns:
                continue
            column = records.column(name)
            for row in pc.indices_nonzero(pc.is_null(column)).to_pylist() if column.null_count else ():
                faults.setdefault(row, Fault(row, reason, f"column {name!r} is null"))
            if pa.types.is_string(column.type):
                blank = pc.or_(pc.utf8_is_space(column), pc.equal(pc.binary_length(column), 0))
                for row in pc.indices_nonzero(blank).to_pylist():
                    faults.setdefault(row, Fault(row, reason, f"column {name!r} is blank"))
    return list(faults.values())


def _text_faults(template: CompiledTemplate, records: pa.RecordBatch) -> list[Fault]:
    """Records whose texts would break the conversation: with control characters or a model's control tokens."""
    faults: dict[int, Fault] = {}
    for name in template.columns:
        texts, rows = _texts(records.column(name))
        if texts is None or not _are_suspect(texts):
            continue
        suspects = pc.indices_nonzero(pc.match_substring_regex(texts, f"{CONTROL}|[<\\[]")).to_pylist()
        for index in suspects:
            text = texts[index].as_py()
            row = int(rows[index])
            if MARK.search(text):
                faults.setdefault(
                    row, Fault(row, Reason.CONTROL_CHARACTER, f"column {name!r} holds a control character")
                )
            elif token := SPECIAL_TOKEN.search(text):
                faults.setdefault(row, Fault(row, Reason.SPECIAL_TOKEN, f"column {name!r} holds {token[0]!r}"))
    return list(faults.values())


def _are_suspect(texts: pa.StringArray) -> bool:
    """Whether any byte of some texts is a control character or may begin a control token; quicker than a regex."""
    return any(
        bool(((said == ord("<")) | (said == ord("[")) | (said <= 0x05) | (said - 0x0E < 0x12)).any())
        for said in text_blocks(texts)
    )


def _texts(column: pa.Array) -> tuple[pa.Array | None, _Ints]:
    """All texts of a column, also inside lists and structs, and the row each one belongs to."""
    rows = np.arange(len(column))
    while pa.types.is_list(column.type):
        lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0))
        rows, column = np.repeat(rows, lengths), column.flatten()
    if pa.types.is_struct(column.type):
        parts = [_texts(child) for child in column.flatten()]
        texts = [(part, rows[at]) for part, at in parts if part is not None]
        if not texts:
            return None, rows
        return pa.concat_arrays([part for part, _ in texts]), np.concatenate([at for _, at in texts])
    return (column, rows) if pa.types.is_string(column.type) else (None, rows)


def _template_faults(template: CompiledTemplate, wording: _Wording, rows: _Ints) -> list[Fault]:
    """The records that a template fails on. A half of them is looked into only if it fails on that."""
    try:
        wording.of(rows)
    except Exception as error:
        if len(rows) == 1:
            place = f"{template.source.path}:{template.line_of(error)}"
            return [Fault(int(rows[0]), Reason.TEMPLATE_ERROR, f"{place}: {type(error).__name__}: {error}")]
        halves = [half for half in np.array_split(rows, 2) if len(half)]
        return [fault for half in halves for fault in _template_faults(template, wording, half)]
    return []


def _check_images(
    template: CompiledTemplate,
    records: pa.RecordBatch,
    counts: _Ints,
    rows: _Ints,
    variants: _Ints,
    conversations: Conversations,
) -> None:
    wrong = np.flatnonzero((conversations.images_placed != counts) | ~conversations.in_order)
    if len(wrong):
        at = int(wrong[0])
        variant = template.variants[int(variants[at])]
        identifier = records.column("id")[int(rows[at])].as_py() if "id" in records.schema.names else f"row {rows[at]}"
        raise SpecError(
            f"{template.source.path}:{variant.line}:1: this variant places {conversations.images_placed[at]} images of"
            f" record {identifier!r}, which has {counts[at]}; place each once, in order (at most {MAX_IMAGES})"
        )
