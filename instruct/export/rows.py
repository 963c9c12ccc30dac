"""Examples in the forms of other trainers. Every function here is pure: a row in, an object for JSON out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from instruct.export.grounding import BOX_DIALECTS, with_boxes

IMAGE = "<image>"
_ROLES = {"system": "system", "human": "user", "gpt": "assistant"}

# What was changed or is lost on the way, of examples that are exported.
SYSTEM_FOLDED = "the system turn is put before the first user turn, as this format has none"
SEVERAL_IMAGES = "show several images"
BOXES_AS_TEXT = "their regions stay as text, without objects"


@dataclass(frozen=True)
class Row:
    """An example.

    Attributes:
        id: identifier within the export: configuration and example.
        label: ``[Task] [Dataset]``.
        turns: sender (system, human or gpt) and text of each turn, with an ``<image>`` mark for each image.
        images: paths of its images, in the order of their marks.
        regions: its regions, boxes as shares of their image.
        dialect: how these are printed in the turns.
    """

    id: str
    label: str
    turns: Sequence[tuple[str, str]]
    images: Sequence[str]
    regions: Sequence[Mapping[str, Any]] = ()
    dialect: str = ""

    @property
    def alternates(self) -> bool:
        """Whether user and assistant speak in turn, the assistant last, after a system turn or none."""
        senders = [sender for sender, _ in self.turns]
        spoken = senders[1:] if senders[:1] == ["system"] else senders
        return (
            spoken[:1] == ["human"]
            and spoken[-1:] == ["gpt"]
            and all({one, two} == {"human", "gpt"} for one, two in pairwise(spoken))
        )


Object = tuple[dict[str, Any], list[str]]


def llava(row: Row) -> Object:
    """LLaVA: ``image``, a path or a list of several, and ``conversations``; no system turn.

    https://github.com/haotian-liu/LLaVA/blob/main/docs/Finetune_Custom_Data.md; lists as LLaVA-NeXT reads them.
    """
    turns, notes = list(row.turns), []
    if turns[0][0] == "system":
        turns[:2] = [("human", f"{turns[0][1]}\n{turns[1][1]}")]
        notes.append(SYSTEM_FOLDED)
    found: dict[str, Any] = {"id": row.id}
    if row.images:
        found["image"] = row.images[0] if len(row.images) == 1 else list(row.images)
    if len(row.images) > 1:
        notes.append(SEVERAL_IMAGES)
    return found | {"conversations": _turns(turns, "from", "value")}, notes


def sharegpt(row: Row) -> Object:
    """LLaMA-Factory's ShareGPT form: ``conversations`` and ``images``.

    https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md
    """
    return _with_images({"id": row.id, "conversations": _turns(row.turns, "from", "value")}, row), []


def openai(row: Row) -> Object:
    """LLaMA-Factory's OpenAI form: ``messages`` whose content is text with ``<image>`` marks, and ``images``."""
    return _with_images({"id": row.id, "messages": _turns(_renamed(row.turns), "role", "content")}, row), []


def swift(row: Row) -> Object:
    """ms-swift: ``messages``, ``images``, ``objects`` for boxes, and ``channel``, by which it reports losses.

    https://github.com/modelscope/ms-swift/blob/main/docs/source_en/Customization/Custom-dataset.md
    """
    turns, objects, notes = list(row.turns), None, []
    if row.dialect in BOX_DIALECTS:
        texts, objects = with_boxes([text for _, text in turns], row.regions, row.dialect)
        turns = [(sender, text) for (sender, _), text in zip(turns, texts, strict=True)]
    if row.regions and not (objects and objects["bbox"]):
        notes.append(BOXES_AS_TEXT)
    found = _with_images({"messages": _turns(_renamed(turns), "role", "content")}, row)
    return found | ({"objects": objects} if objects else {}) | {"channel": row.label}, notes


def axolotl(row: Row) -> Object:
    """Axolotl: ``messages`` whose content is a list of parts, an image part with its path.

    Of an ``images`` column axolotl takes the first image only; of parts it takes all. Every part has all three keys,
    so that a reader sees one type; axolotl drops the empty ones. https://docs.axolotl.ai/docs/multimodal.html
    """
    paths = iter(row.images)
    messages = []
    for sender, text in row.turns:
        parts: list[dict[str, Any]] = []
        for number, piece in enumerate(text.split(IMAGE)):
            if number:
                parts.append({"type": "image", "text": None, "path": next(paths)})
            if piece:
                parts.append({"type": "text", "text": piece, "path": None})
        messages.append({"role": _ROLES[sender], "content": parts})
    return {"messages": messages}, [SEVERAL_IMAGES] if len(row.images) > 1 else []


def _renamed(turns: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(_ROLES[sender], text) for sender, text in turns]


def _turns(turns: Sequence[tuple[str, str]], sender: str, text: str) -> list[dict[str, str]]:
    return [{sender: one, text: said} for one, said in turns]


def _with_images(found: dict[str, Any], row: Row) -> dict[str, Any]:
    return found | ({"images": list(row.images)} if row.images else {})
