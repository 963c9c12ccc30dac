"""Connections of DuckDB that can read nothing but the tables registered in them, within a bounded memory if wanted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import duckdb
import pyarrow as pa

from instruct.sources import Source
from instruct.specs.vocabulary import Macro

# What a query may hold, and how much of that its sorts and joins. What does not fit goes to disk.
_MEMORY, _OPERATORS = "200MB", "32MB"
# Threads of a query within that memory, one bound after the other: each thread has buffers that cannot go to disk. At
# last there is no bound.
BOUNDS = (min(os.cpu_count() or 1, 4), 1, None)


def connect(
    sources: Iterable[Source],
    tables: Mapping[str, Mapping[str, pa.Table]] | None,
    macros: Iterable[Macro],
    spill: Path | None = None,
    threads: int | None = None,
) -> duckdb.DuckDBPyConnection:
    """A connection over the tables of some sources; external access is off, its configuration locked.

    Args:
        sources: the sources; the tables and views of each are a schema.
        tables: source name to its tables; None for empty ones.
        macros: functions that queries may call.
        spill: folder for what does not fit into the memory.
        threads: threads that share the bounded memory; None for no bound.
    """
    connection = duckdb.connect(":memory:")
    run = connection.execute
    run("SET python_enable_replacements = false")
    run("SET TimeZone = 'UTC'")
    if spill is not None and threads is not None:
        spill.mkdir(parents=True, exist_ok=True)
        run("SET temp_directory = ?", [str(spill)])
        run(f"SET memory_limit = '{_MEMORY}'; SET threads = {threads}")
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
