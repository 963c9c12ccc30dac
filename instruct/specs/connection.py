"""Connections of DuckDB that can read nothing but the tables registered in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import duckdb
import pyarrow as pa

from instruct.sources import Source
from instruct.specs.vocabulary import Macro


def connect(
    sources: Iterable[Source],
    tables: Mapping[str, Mapping[str, pa.Table]] | None,
    macros: Iterable[Macro],
) -> duckdb.DuckDBPyConnection:
    """A connection over the tables of some sources; external access is off, its configuration locked.

    Args:
        sources: the sources; the tables and views of each are a schema.
        tables: source name to its tables; None for empty ones.
        macros: functions that queries may call.
    """
    connection = duckdb.connect(":memory:")
    run = connection.execute
    run("SET python_enable_replacements = false")
    run("SET TimeZone = 'UTC'")
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
