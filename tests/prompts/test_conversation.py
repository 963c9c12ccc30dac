"""Cutting a marked text into Arrow columns, against a parser that does it character by character."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from instruct.prompts.conversation import (
    CONVERSATIONS_TYPE,
    MESSAGES_TYPE,
    Conversations,
    parse_conversations,
)
from instruct.prompts.marks import CONTROL, DIGITS, END, IMAGE, MARK, MAX_IMAGES, ROLES, image_mark, value_mark

SENDERS = {"system": "system", "user": "human", "assistant": "gpt"}
ROLE_OF = {mark: role for role, mark in ROLES.items()}


def naive(text: str) -> list[list[tuple[str, list[str | int]]]]:
    """Examples as lists of turns, each a role with its parts: a text, or the number of an image."""
    examples, turns, at = [], [], 0
    while at < len(text):
        letter = text[at]
        if letter in ROLE_OF:
            turns.append((ROLE_OF[letter], []))
        elif letter == END:
            examples.append(turns)
            turns = []
        elif letter == IMAGE:
            turns[-1][1].append(DIGITS.index(text[at + 1]) * len(DIGITS) + DIGITS.index(text[at + 2]))
            at += 2
        else:
            parts = turns[-1][1]
            if parts and isinstance(parts[-1], str):
                parts[-1] += letter
            else:
                parts.append(letter)
        at += 1
    assert not turns
    return examples


def check(text: str) -> Conversations:
    parsed, wanted = parse_conversations(text), naive(text)
    parsed.messages.validate(full=True)
    parsed.conversations.validate(full=True)
    assert parsed.messages.type == MESSAGES_TYPE
    assert parsed.conversations.type == CONVERSATIONS_TYPE
    assert parsed.messages.to_pylist() == [
        [
            {
                "role": role,
                "content": [
                    {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "text": None}
                    for part in parts
                ],
            }
            for role, parts in turns
        ]
        for turns in wanted
    ]
    assert parsed.conversations.to_pylist() == [
        [
            {"from": SENDERS[role], "value": "".join("<image>" if isinstance(p, int) else p for p in parts)}
            for role, parts in turns
        ]
        for turns in wanted
    ]
    placed = [[part for _, parts in turns for part in parts if isinstance(part, int)] for turns in wanted]
    assert parsed.images_placed.tolist() == [len(images) for images in placed]
    assert parsed.in_order.tolist() == [images == list(range(len(images))) for images in placed]
    assert parsed.empty_answer.tolist() == [
        any(role == "assistant" and not "".join(map(str, parts)).strip() for role, parts in turns) for turns in wanted
    ]
    return parsed


plain = st.text(st.characters(codec="utf-8"), max_size=6).filter(lambda text: not MARK.search(text))
turn = st.tuples(st.sampled_from(sorted(ROLES)), st.lists(plain | st.integers(0, MAX_IMAGES - 1), max_size=4))
in_order = st.lists(st.tuples(st.sampled_from(sorted(ROLES)), plain, st.integers(0, 25)), min_size=1, max_size=3)


def marked(examples: list[list[tuple[str, list[str | int]]]]) -> str:
    return "".join(
        "".join(
            ROLES[role] + "".join(part if isinstance(part, str) else image_mark(part) for part in parts)
            for role, parts in turns
        )
        + END
        for turns in examples
    )


@given(st.lists(st.lists(turn, min_size=1, max_size=4), max_size=4))
@example([])
@example([[("user", [])], [("assistant", [])]])
@example([[("assistant", [" \n\u00a0\u3000"])], [("assistant", [0])]])
def test_any_turns_images_and_texts(examples):
    check(marked(examples))


@given(st.lists(in_order, max_size=4))
def test_images_in_order_however_many(examples):
    turns = []
    for given_turns in examples:
        number = iter(range(MAX_IMAGES))
        turns.append([(role, [text, *(next(number) for _ in range(count)), text]) for role, text, count in given_turns])
    assert check(marked(turns)).in_order.all()


# Turns whose parts are texts, images or, as (number,), a text that is put in.
open_turn = st.tuples(
    st.sampled_from(sorted(ROLES)), st.lists(plain | st.integers(0, 2) | st.tuples(st.integers(0, 1)))
)


@given(
    st.lists(st.lists(open_turn, min_size=1, max_size=3), min_size=1, max_size=3),
    st.lists(st.tuples(plain, plain), min_size=1, max_size=4),
    st.data(),
)
@example([[("user", [(0,), 0, (0,)]), ("assistant", [(1,)])]], [("", "Clear."), ("a", "")], None)
def test_wordings_repeated_with_texts_put_in_equal_their_examples_written_out(wordings, values, data):
    rows = len(values)
    chosen = [row % len(wordings) for row in range(rows)]
    if data is not None:
        chosen = data.draw(st.lists(st.integers(0, len(wordings) - 1), min_size=rows, max_size=rows))

    def written(turns, row=None):
        return [
            (
                role,
                [
                    p if isinstance(p, str | int) else value_mark(p[0]) if row is None else values[row][p[0]]
                    for p in parts
                ],
            )
            for role, parts in turns
        ]

    expected = check(marked([written(wordings[number], row) for row, number in enumerate(chosen)]))
    given_texts = [pa.array(texts, pa.string()) for texts in zip(*values, strict=True)]
    text = marked([written(turns) for turns in wordings])
    parsed = parse_conversations(text, np.array(chosen), given_texts, np.arange(rows))
    for name, value in vars(expected).items():
        made = getattr(parsed, name)
        assert made.tolist() == value.tolist() if isinstance(value, np.ndarray) else made.equals(value), name
    parsed.messages.validate(full=True)


@pytest.mark.parametrize("count", [1, 17, 18, 19, 20, 100, MAX_IMAGES])
def test_every_number_of_images_can_be_placed(count):
    text = ROLES["user"] + "".join(image_mark(index) for index in range(count)) + ROLES["assistant"] + "Clear." + END
    parsed = check(text * 3)
    assert parsed.images_placed.tolist() == [count] * 3
    assert parsed.in_order.all()


def test_images_twice_left_out_or_turned_are_seen():
    texts = [(0, 1), (1, 0), (0, 0), (1,), (0, 2), (18, 0)]
    parsed = check("".join(ROLES["user"] + "".join(map(image_mark, images)) + END for images in texts))
    assert parsed.in_order.tolist() == [True, False, False, False, False, False]


def test_there_is_no_mark_for_one_image_more():
    assert len({image_mark(index) for index in range(MAX_IMAGES)}) == MAX_IMAGES
    with pytest.raises(ValueError, match=f"at most {MAX_IMAGES} images"):
        image_mark(MAX_IMAGES)


def test_all_marks_are_bytes_that_no_text_may_hold():
    marks = [*ROLES.values(), IMAGE, END, *DIGITS]
    assert len(set(marks)) == len(marks)
    assert all(MARK.fullmatch(mark) and len(mark.encode()) == 1 for mark in marks)
    assert MARK.pattern == CONTROL
    assert not any(MARK.search(letter) for letter in "\t\n\r\x0b\x0c aé€😀")
