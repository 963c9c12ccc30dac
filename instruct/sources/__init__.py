"""Readers: published files to typed Arrow tables."""

from instruct.sources.base import Files, Input, Keep, Options, Rows, Source, Table, View, column
from instruct.sources.registry import get_source, source_names

__all__ = [
    "Files", "Input", "Keep", "Options", "Rows", "Source", "Table", "View", "column", "get_source",
    "source_names",
]  # fmt: skip
