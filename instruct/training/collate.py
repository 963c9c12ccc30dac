"""Batches: rows to tensors, for training (right padding, labels) and for generation (left padding, prompts only)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from instruct.errors import DataError
from instruct.training.images import REFUSED_IMAGE, ImageFault, image_sizes, open_image
from instruct.training.supervision import (
    NOTHING_TO_LEARN,
    TOO_LONG,
    RowFault,
    Supervision,
    adds_special_tokens,
    supervised_tokens,
)

OnBadImage = Literal["error", "mask"]
IGNORED = -100  # label of a token that is not learnt, as `cross_entropy` and transformers have it


@dataclass(frozen=True)
class BatchFacts:
    """What a batch holds beside the model's inputs.

    Attributes:
        ids: ids of the rows.
        tokens: tokens without padding.
        padded: tokens with padding: rows times the longest length.
        supervised: supervised tokens.
        images: images.
        bad_images: images that could not be read, with ``on_bad_image="mask"``.
        masked_rows: rows that are not learnt because of them.
    """

    ids: tuple[str, ...]
    tokens: int
    padded: int
    supervised: int
    images: int
    bad_images: int = 0
    masked_rows: int = 0


class Collator:
    """Makes a batch of rows: the model's inputs, ``labels`` (-100 where nothing is learnt), and ``facts``.

    Take ``facts`` (a :class:`BatchFacts`) out before the model gets the batch: ``facts = batch.pop("facts")``.
    It pickles, so loader workers may be forked or spawned.

    Args:
        processor: from :func:`instruct.training.processor.load_processor`.
        max_length: a longer row is refused, never cut; None allows any length.
        on_bad_image: ``error`` raises with the row's id; ``mask`` puts a black image in its place, learns nothing
            from the row and counts it, which keeps the batch shapes of all processes alike.
    """

    def __init__(self, processor: Any, max_length: int | None = None, on_bad_image: OnBadImage = "error") -> None:
        self._processor = processor
        self._max_length = max_length
        self._on_bad_image = on_bad_image
        self._supervision = Supervision(processor)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """A batch, padded on the right.

        Raises:
            RowFault: a row cannot be trained on, or is longer than `max_length`.
            ImageFault: an image cannot be read, with ``on_bad_image="error"``; the processor refuses its size.
            DataError: the processor refuses the rows for another reason.
        """
        import torch

        rendered = [self._supervision.render(row) for row in rows]
        images, bad = _read_images(rows, self._on_bad_image)
        batch = _process(self._processor, rows, [one.text for one in rendered], images, "right", offsets=True)
        offsets = np.asarray(batch.pop("offset_mapping"))
        replaced = batch.pop("text_replacement_offsets")
        lengths = batch["attention_mask"].sum(dim=1).tolist()
        mask = np.zeros(offsets.shape[:2], dtype=bool)
        for place, row in enumerate(rows):
            if self._max_length is not None and lengths[place] > self._max_length:
                raise RowFault(
                    row["id"],
                    TOO_LONG,
                    f"{lengths[place]} tokens, more than max_length = {self._max_length}; rows are never cut, the plan "
                    "leaves long ones out: was it made for this model and this max_length?",
                )
            where = [(*one["span"], len(one["replacement"])) for one in replaced[place]]
            mask[place] = supervised_tokens(rendered[place], offsets[place], where)
            if not mask[place].any():
                raise RowFault(row["id"], NOTHING_TO_LEARN, "no token is supervised: nothing would be learnt")
            if bad[place]:
                mask[place] = False
        chosen = torch.from_numpy(mask) & batch["attention_mask"].bool()
        batch["labels"] = batch["input_ids"].masked_fill(~chosen, IGNORED)
        batch["facts"] = _facts(rows, batch, images, bad, supervised=int(mask.sum()))
        return batch


class PromptCollator:
    """Makes a batch to generate from: prompts up to the last assistant turn, padded on the left, and ``facts``.

    Args:
        processor: from :func:`instruct.training.processor.load_processor`.
        on_bad_image: ``error`` or ``mask``: a black image in its place, counted in the facts.
    """

    def __init__(self, processor: Any, on_bad_image: OnBadImage = "error") -> None:
        self._processor = processor
        self._on_bad_image = on_bad_image
        self._supervision = Supervision(processor)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """A batch; the new tokens of ``generate`` start at ``batch["input_ids"].shape[1]``.

        Raises:
            RowFault: a text holds a control token, or there is no assistant turn to generate.
            ImageFault: an image cannot be read, with ``on_bad_image="error"``; the processor refuses its size.
            DataError: the processor refuses the rows for another reason.
        """
        texts = [self._supervision.prompt(row) for row in rows]
        images, bad = _read_images(rows, self._on_bad_image)
        batch = _process(self._processor, rows, texts, images, "left", offsets=False)
        batch["facts"] = _facts(rows, batch, images, bad, supervised=0)
        return batch


def _read_images(
    rows: Sequence[Mapping[str, Any]], on_bad_image: OnBadImage
) -> tuple[list[list[Image.Image]], list[int]]:
    """The images of each row, and how many of them could not be read."""
    images: list[list[Image.Image]] = []
    bad = [0] * len(rows)
    for place, row in enumerate(rows):
        images.append([])
        for index in range(len(row["images"])):
            try:
                images[-1].append(open_image(row, index))
            except ImageFault:
                if on_bad_image == "error":
                    raise
                images[-1].append(Image.new("RGB", _size(row, index)))
                bad[place] += 1
    return images, bad


def _size(row: Mapping[str, Any], index: int) -> tuple[int, int]:
    # A file cut short still has its header, and with it the length that the plan counted on.
    try:
        return image_sizes({"id": row["id"], "images": [row["images"][index]]})[0]
    except ImageFault:
        return (224, 224)


def _process(
    processor: Any,
    rows: Sequence[Mapping[str, Any]],
    texts: list[str],
    images: list[list[Image.Image]],
    side: str,
    offsets: bool,
) -> dict[str, Any]:
    adds = {adds_special_tokens(processor, text) for text in texts}
    extra = {"return_offsets_mapping": True, "return_text_replacement_offsets": True} if offsets else {}
    try:
        batch = processor(
            text=texts,
            images=images if any(images) else None,
            padding=True,
            padding_side=side,
            add_special_tokens=adds == {True},
            **extra,
        )
    except ValueError as error:
        _find_refused(processor, rows, images)
        ids = ", ".join(row["id"] for row in rows)
        raise DataError(f"rows {ids}: {type(processor).__name__} refuses them: {error}") from error
    told = batch.pop("text_replacement_offsets", None) or [[] for _ in rows]  # ragged: no tensor
    batch.convert_to_tensors("pt")
    if not offsets:
        return dict(batch)
    if [len(one) for one in told] != [len(one) for one in images]:
        raise DataError(
            f"{type(processor).__name__} does not tell what it puts in the place of an image, so what is supervised "
            "cannot be known"
        )
    return {**batch, "text_replacement_offsets": told}


def _find_refused(processor: Any, rows: Sequence[Mapping[str, Any]], images: list[list[Image.Image]]) -> None:
    for row, shown in zip(rows, images, strict=True):
        for index, image in enumerate(shown):
            try:
                processor.image_processor([[image]])
            except ValueError as error:
                detail = f"{image.width} x {image.height} pixels: {type(processor).__name__} refuses it: {error}"
                raise ImageFault(row["id"], index, REFUSED_IMAGE, detail) from error


def _facts(
    rows: Sequence[Mapping[str, Any]],
    batch: Mapping[str, Any],
    images: list[list[Image.Image]],
    bad: list[int],
    supervised: int,
) -> BatchFacts:
    return BatchFacts(
        ids=tuple(row["id"] for row in rows),
        tokens=int(batch["attention_mask"].sum()),
        padded=batch["attention_mask"].numel(),
        supervised=supervised,
        images=sum(map(len, images)),
        bad_images=sum(bad),
        masked_rows=sum(map(bool, bad)),
    )
