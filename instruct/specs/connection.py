"""Connections of DuckDB that can read nothing but the tables registered in them, within a bounded memory if wanted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from instruct.sources import Source
from instruct.specs.vocabulary import Macro


@dataclass(frozen=True)
class Bound:
    """What a query may hold in memory, as DuckDB writes it, and the threads that share it; the rest goes to disk."""

    memory: str
    threads: int


# One after the other, until a query can do with one: each thread has buffers that cannot go to disk. The last is none.
BOUNDS = (Bound("150MB", min(os.cpu_count() or 1, 4)), Bound("180MB", 1), None)
# How much of its memory a query's sorts and joins may take.
_OPERATORS = "32MB"


def connect(
    sources: Iterable[Source],
    tables: Mapping[str, Mapping[str, pa.Table]] | None,
    macros: Iterable[Macro],
    spill: Path | None = None,
    bound: Bound | None = None,
) -> duckdb.DuckDBPyConnection:
    """A connection over the tables of some sources; external access is off, its configuration locked.

    Args:
        sources: the sources; the tables and views of each are a schema.
        tables: source name to its tables; None for empty ones.
        macros: functions that queries may call.
        spill: folder for what does not fit into the bound.
        bound: what a query may hold; None for what it needs.
    """
    connection = duckdb.connect(":memory:")
    run = connection.execute
    run("SET python_enable_replacements = false")
    run("SET TimeZone = 'UTC'")
    if spill is not None:
        spill.mkdir(parents=True, exist_ok=True)
        run("SET temp_directory = ?", [str(spill)])
    if spill is not None and bound is not None:
        run(f"SET memory_limit = '{bound.memory}'; SET threads = {bound.threads}")
        with suppress(duckdb.CatalogException):  # new in DuckDB 2
            run(f"SET operator_memory_limit = '{_OPERATORS}'")
    for source in sources:
        run(f"CREATE SCHEMA {source.name}")
        for name, table in source.tables.items():
            rows = table.schema.empty_table() if tables is None else tables[source.name][name]
            connection.register(f"{source.name}__{name}", rows)
            run(f"CREATE VIEW {source.name}.{name} AS SELECT * FROM main.{source.name}__{name}")
        for name, view in source.views.items():
            run(f"CREATE VIEW {source.name}.{name} AS {view.sql}")
    run("; ".join(f"CREATE MACRO {macro.signature} AS ({macro.body})" for macro in macros))
    run("SET enable_external_access = false")
    run("SET lock_configuration = true")
    return connection
