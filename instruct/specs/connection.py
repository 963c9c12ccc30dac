"""Connections of DuckDB that can read nothing but the tables registered in them, within a bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa

from instruct.sources import Source
from instruct.specs.vocabulary import Macro

# What a query may hold in memory, one after the other: some operators cannot put on disk what they hold.
LIMITS = ("150MB", "300MB", None)
# How much of that its sorts and joins may take.
_OPERATORS = "64MB"
# Each thread has buffers of its own, which many would not find room for.
_THREADS = 4


def connect(
    sources: Iterable[Source],
    tables: Mapping[str, Mapping[str, pa.Table]] | None,
    macros: Iterable[Macro],
    spill: Path | None = None,
    memory: str | None = None,
) -> duckdb.DuckDBPyConnection:
    """A connection over the tables of some sources; external access is off, its configuration locked.

    Args:
        sources: the sources; the tables and views of each are a schema.
        tables: source name to its tables; None for empty ones.
        macros: functions that queries may call.
        spill: folder for what does not fit into the memory; None for none.
        memory: what a query may hold, such as 150MB; None for no bound.
    """
    connection = duckdb.connect(":memory:")
    run = connection.execute
    run("SET python_enable_replacements = false")
    run("SET TimeZone = 'UTC'")
    if spill is not None:
        run("SET temp_directory = ?", [str(spill)])
    if memory is not None:
        for name, value in (_bounds() | {"memory_limit": memory}).items():
            run(f"SET {name} = ?", [value])
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


@cache
def _bounds() -> dict[str, str]:
    """Settings that keep the memory small; DuckDB before 2 does not know all of them."""
    wanted = {"operator_memory_limit": _OPERATORS, "threads": str(min(os.cpu_count() or 1, _THREADS))}
    known = {name for (name,) in duckdb.sql("SELECT name FROM duckdb_settings()").fetchall()}
    return {name: value for name, value in wanted.items() if name in known}
