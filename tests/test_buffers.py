from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct.buffers import copied, first_bytes, text_blocks, text_bytes


@given(st.lists(st.none() | st.text(max_size=5), max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_the_bytes_are_those_of_the_texts(texts: list[str | None], start: int, length: int) -> None:
    some = pa.array(texts, pa.string()).slice(min(start, len(texts)), length)
    assert text_bytes(some).tobytes().decode() == "".join(text or "" for text in some.to_pylist())


@pytest.mark.parametrize("length", [0, 1, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 3 << 18])
def test_blocks_overlap_by_a_byte(length):
    said = bytes(number % 127 for number in range(length))
    texts = pa.array([said[:7].decode(), said[7:].decode()])
    blocks = [block.tobytes() for block in text_blocks(texts)]
    assert b"".join(block[:-1] for block in blocks[:-1]) + b"".join(blocks[-1:]) == said
    pairs = {said[at : at + 2] for at in range(length - 1)}
    assert {block[at : at + 2] for block in blocks for at in range(len(block) - 1)} == pairs


@given(st.lists(st.text(max_size=3) | st.none(), max_size=9), st.integers(0, 9))
def test_the_first_byte_of_each_text(texts, start):
    array = pa.array(texts, pa.string()).slice(start)
    assert first_bytes(array).tolist() == [text.encode()[0] if text else 0 for text in texts[start:]]


def test_a_copy_of_a_part_holds_that_part_alone():
    part = pa.array(["a" * 1000, "b", None, "c" * 1000]).slice(1, 2)
    copy = copied(part)
    assert copy.equals(part)
    assert copy.offset == 0
    assert copy.buffers()[2].size == 1
