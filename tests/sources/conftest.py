"""What readers are tried with."""

from __future__ import annotations

import pytest

from instruct.errors import DataError


@pytest.fixture
def told(tmp_path):
    def told(read, *arguments, **options) -> str:
        with pytest.raises(DataError) as caught:
            list(read(*arguments, **options))
        return str(caught.value).replace(f"{tmp_path}/", "")

    return told


@pytest.fixture
def file(tmp_path):
    def file(content: str | bytes, name: str = "x.csv"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / name

    return file
