from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from instruct.buffers import text_bytes


@given(st.lists(st.none() | st.text(max_size=5), max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_the_bytes_are_those_of_the_texts(texts: list[str | None], start: int, length: int) -> None:
    some = pa.array(texts, pa.string()).slice(min(start, len(texts)), length)
    assert text_bytes(some).tobytes().decode() == "".join(text or "" for text in some.to_pylist())
