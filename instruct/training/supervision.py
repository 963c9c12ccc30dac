"""What of a row is learnt: the assistant's turns, as spans of the text that the chat template writes.

Where the template marks the assistant's tokens with ``{% generation %}``, the marks decide. Otherwise an assistant
turn is what the template adds to the prompt before it: the text of the turns up to it, less the text of the turns
before it with the generation prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from instruct.errors import DataError
from instruct.reasons import Reason
from instruct.training.processor import special_tokens

NOTHING_TO_LEARN = "nothing_to_learn"
TOO_LONG = "too_long"

_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")


class RowFault(DataError):
    """A row that cannot be trained on.

    Attributes:
        row_id: the row's ``id``.
        reason: ``special_token``, ``nothing_to_learn``, ``empty_target``, ``image_count``, ``template_error`` or
            ``too_long``.
        detail: what is wrong.
    """

    def __init__(self, row_id: str, reason: str, detail: str) -> None:
        self.row_id, self.reason, self.detail = row_id, reason, detail
        super().__init__(f"row {row_id}: {detail}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.row_id, self.reason, self.detail))


@dataclass(frozen=True)
class Rendered:
    """A conversation as the text given to the processor, one placeholder per image.

    Attributes:
        text: the text.
        spans: start and end of each supervised span in it, in characters.
        closed: whether the last span ends with a control token, which teaches the model to stop.
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    closed: bool


class Supervision:
    """Renders rows with a processor's chat template, and finds what is supervised.

    Args:
        processor: from :func:`instruct.training.processor.load_processor`.

    Attributes:
        method: ``generation marks`` or ``prefix difference``.
        placeholder: what stands for an image in the text.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        template = processor.chat_template
        self._template: str = template.get("default", "") if isinstance(template, dict) else template
        if not self._template:
            raise DataError(f"{self._name}: there is no default chat template, only {', '.join(template)}")
        self._marked = bool(_MARK.search(self._template))
        self.method = "generation marks" if self._marked else "prefix difference"
        self.placeholder: str = processor.image_token
        tokens = sorted(special_tokens(processor), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, tokens)))
        self._ends_special = re.compile(f"(?:{self._special.pattern})$")
        self._variables = dict(processor.tokenizer.special_tokens_map)

    @property
    def _name(self) -> str:
        return f"the chat template of {self._processor.tokenizer.name_or_path}"

    def render(self, row: Mapping[str, Any]) -> Rendered:
        """The whole conversation of a row.

        Where the template puts no control token after the last answer, the EOS token is put there: a model that
        never sees one learns no end.

        Raises:
            RowFault: a text holds a control token, no token would be supervised, the answer is empty.
            DataError: the template rewrites earlier turns, so that no span can be told.
        """
        turns = self._turns(row, row["messages"])
        answers = [turn for turn in turns if turn["role"] == "assistant"]
        if not answers:
            raise RowFault(row["id"], NOTHING_TO_LEARN, "there is no assistant turn, so there is nothing to learn")
        for turn in answers:
            if not any(part.get("text", "").strip() for part in turn["content"]):
                raise RowFault(row["id"], Reason.EMPTY_TARGET, "an assistant turn has no text")
        text, spans = self._marks(row, turns) if self._marked else self._differences(row, turns)
        spans = [self._without_blanks(text, *span) for span in spans if text[slice(*span)].strip()]
        if not spans:
            raise RowFault(
                row["id"],
                NOTHING_TO_LEARN,
                f"{self._name} puts none of the assistant's text between its generation marks: nothing would be learnt",
            )
        self._count_images(row, text)
        return self._close(text, spans)

    def prompt(self, row: Mapping[str, Any]) -> str:
        """The conversation up to the last assistant turn, with the generation prompt.

        Raises:
            RowFault: as :meth:`render`; the last turn is not the assistant's.
        """
        messages = row["messages"]
        if not messages or messages[-1]["role"] != "assistant":
            raise RowFault(row["id"], NOTHING_TO_LEARN, "the last turn is not the assistant's: nothing to generate")
        text, _ = self._apply(row, self._turns(row, messages[:-1]), prompt=True)
        self._count_images(row, text)
        return text

    def _turns(self, row: Mapping[str, Any], messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Messages as chat templates expect them: an image part has no text, not a text of None."""
        turns = []
        for message in messages:
            content = []
            for part in message["content"]:
                if part["type"] == "text":
                    found = self._special.search(part["text"])
                    if found:
                        raise RowFault(
                            row["id"],
                            Reason.SPECIAL_TOKEN,
                            f"a text of the {message['role']} holds {found[0]!r}, a control token of the model",
                        )
                    content.append({"type": "text", "text": part["text"]})
                else:
                    content.append({"type": part["type"]})
            turns.append({"role": message["role"], "content": content})
        return turns

    def _apply(
        self, row: Mapping[str, Any], turns: Sequence[dict[str, Any]], prompt: bool = False, marks: bool = False
    ) -> tuple[str, list[tuple[int, int]]]:
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            texts, spans = render_jinja_template(
                conversations=[list(turns)],
                chat_template=self._template,
                return_assistant_tokens_mask=marks,
                add_generation_prompt=prompt,
                **self._variables,
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise RowFault(row["id"], Reason.TEMPLATE_ERROR, f"{self._name} fails: {error}") from error
        return texts[0], [(start, end) for start, end in spans[0]] if marks else []

    def _marks(self, row: Mapping[str, Any], turns: list[dict[str, Any]]) -> tuple[str, list[tuple[int, int]]]:
        return self._apply(row, turns, marks=True)

    def _differences(self, row: Mapping[str, Any], turns: list[dict[str, Any]]) -> tuple[str, list[tuple[int, int]]]:
        whole, _ = self._apply(row, turns)
        spans = []
        for place, turn in enumerate(turns):
            if turn["role"] != "assistant":
                continue
            before, _ = self._apply(row, turns[:place], prompt=True)
            upto = whole if place + 1 == len(turns) else self._apply(row, turns[: place + 1])[0]
            if not (upto.startswith(before) and whole.startswith(upto)):
                raise DataError(
                    f"row {row['id']}: {self._name} writes turn {place + 1} otherwise once later turns follow, or "
                    "after another prompt than it generates from; which tokens are the assistant's cannot be told. Put "
                    "{% generation %} and {% endgeneration %} around the assistant's text in chat_template.jinja"
                )
            spans.append((len(before), len(upto)))
        return whole, spans

    def _without_blanks(self, text: str, start: int, end: int) -> tuple[int, int]:
        """A span without the blanks behind the control token that ends its turn: nobody waits for those."""
        kept = text[start:end].rstrip()
        return start, start + len(kept) if self._ends_special.search(kept) else end

    def _close(self, text: str, spans: list[tuple[int, int]]) -> Rendered:
        start, end = spans[-1]
        closed = bool(self._ends_special.search(text[start:end]))
        eos = self._processor.tokenizer.eos_token
        if not closed and not text[end:].strip() and eos:
            text = text[:end].rstrip() + eos
            spans = [*spans[:-1], (start, len(text))]
            closed = True
        return Rendered(text, tuple(spans), closed)

    def _count_images(self, row: Mapping[str, Any], text: str) -> None:
        placed = text.count(self.placeholder)
        if placed != len(row["images"]):
            raise RowFault(
                row["id"],
                Reason.IMAGE_COUNT,
                f"{len(row['images'])} images, but {self._name} places {placed}",
            )


def adds_special_tokens(processor: Any, text: str) -> bool:
    """Whether the tokenizer is to add its opening token: not where the template has written it already."""
    bos = processor.tokenizer.bos_token
    return not (bos and text.startswith(bos))


def supervised_tokens(
    rendered: Rendered, offsets: npt.ArrayLike, replaced: Sequence[tuple[int, int, int]]
) -> npt.NDArray[np.bool_]:
    """Which tokens of a text are supervised.

    A token that a span cuts through counts as inside it, as in ``apply_chat_template``; image tokens never count.

    Args:
        rendered: the text with placeholders, and its spans.
        offsets: start and end of each token, in characters of the text with the images' tokens put in; [tokens, 2].
        replaced: start and end of each placeholder in `rendered.text`, and the length of what it was replaced by.
    """
    at = np.asarray(offsets, dtype=np.int64).reshape(-1, 2)
    start, end = at[:, 0], at[:, 1]
    mask = np.zeros(len(at), dtype=bool)
    for low, high in rendered.spans:
        mask |= (start < _moved(high, replaced)) & (end > _moved(low, replaced))
    for first, last, width in replaced:
        new = _moved(first, replaced)
        if last <= rendered.spans[0][0]:
            continue  # before the first span, as nearly always
        mask &= ~((start < new + width) & (end > new))
    return mask


def _moved(place: int, replaced: Sequence[tuple[int, int, int]]) -> int:
    return place + sum(width - (last - first) for first, last, width in replaced if last <= place)
