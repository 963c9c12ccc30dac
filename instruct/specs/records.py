"""Record queries on DuckDB: bound against a reader's schema without data, or run over its tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError, SpecError
from instruct.sources import Keep, Source
from instruct.specs.connection import BOUNDS, connect
from instruct.specs.contract import CONTRACT, CONTRACT_NAMES, CONTRACT_TYPES, VARIANT_HASH
from instruct.specs.ordering import ORDER, cut, put_in_order
from instruct.specs.record_rows import checked, plain
from instruct.specs.task_spec import TaskEntry
from instruct.specs.vocabulary import macros

# Rows that are made Python objects at a time.
_BATCH_ROWS = 100_000
# Choices in an order that depends on the record and the choice alone.
_SHUFFLED = (
    "list_transform(list_sort(list_transform(options, lambda choice:"
    " struct_pack(hash := stable_hash(id || chr(31) || choice, 'options'), choice := choice))),"
    " lambda entry: entry.choice) AS options"
)


class RecordQueries:
    """Record queries over the tables of some sources, or over none.

    Each source's tables are a schema of their own, ``mimic_cxr.images``; those of a task's own source need no prefix.

    Args:
        source: a source.
        tables: source name to its tables; None binds queries against empty ones.
        reads: more sources.
        seed: the recipe's seed.
        mentions_change: the recipe's rule for ``mentions_change``.
        corrections: configuration to the records that do not get the split their query gives: columns ``id`` and
            ``split``, where null leaves the record out.
        spill: folder for what queries cannot hold in a bounded memory; without it they take what they need.
        keep: where the records of a task wait to be put in order; without it DuckDB sorts them in memory.

    Attributes:
        sources: the sources whose tables there are.
    """

    def __init__(
        self,
        source: Source,
        tables: Mapping[str, Mapping[str, pa.Table]] | None = None,
        *,
        reads: Sequence[Source] = (),
        seed: int = 0,
        mentions_change: str = "substring",
        corrections: Mapping[str, pa.Table] | None = None,
        spill: Path | None = None,
        keep: Keep | None = None,
    ) -> None:
        self.sources = (source, *reads)
        self._corrections = corrections or {}
        self._columns: dict[str, dict[str, str]] = {}
        self._arrow_types: dict[str, pa.DataType] = {}
        self._keep = keep
        self._bounds = [None] if spill is None else list(BOUNDS)
        self._connect = partial(connect, self.sources, tables, macros(seed, mentions_change), spill)
        self._open()

    def _open(self) -> None:
        """Connect, within the next bound."""
        self._connection = self._connect(self._bounds.pop(0))
        self._schema = ""

    def __enter__(self) -> RecordQueries:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def columns(self, entry: TaskEntry) -> dict[str, str]:
        """Columns a task's query gives, with their SQL types, without running it.

        Raises:
            SpecError: the query does not bind; the message carries the line of the spec.
        """
        if self._schema != entry.spec.source:
            self._connection.execute(f"SET schema = '{entry.spec.source}'")
            self._schema = entry.spec.source
        if entry.config not in self._columns:
            self._columns[entry.config] = self._bind(entry)
        return self._columns[entry.config]

    def _bind(self, entry: TaskEntry) -> dict[str, str]:
        statements = self._parse(entry)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise SpecError(f"{entry.query_place()}: {entry.name}: records must be one SELECT statement")
        try:
            # Unlike `sql`, `execute` tells the line of an error.
            rows = self._connection.execute(f"DESCRIBE SELECT * FROM (\n{_query(entry)}\n)").fetchall()
        except duckdb.Error as error:
            raise _explain(entry, error) from None
        return {row[0]: row[1] for row in rows}

    def column_types(self, entry: TaskEntry) -> dict[str, pa.DataType]:
        """Arrow types of the columns a task's query gives, without running it."""
        columns = self.columns(entry)
        return {name: CONTRACT_TYPES.get(name) or self._arrow_type(kind) for name, kind in columns.items()}

    def _arrow_type(self, kind: str) -> pa.DataType:
        if kind not in self._arrow_types:  # tasks share a few types: one bound query for each is enough
            given = self._connection.sql(f"SELECT CAST(NULL AS {kind}) AS given LIMIT 0")
            self._arrow_types[kind] = plain(given.to_arrow_table().schema.field("given").type)
        return self._arrow_types[kind]

    def records(self, entry: TaskEntry, fields: list[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Run a task's query.

        Args:
            entry: the task.
            fields: columns wanted beside the contract's: those its template reads.
            batch_rows: rows per batch; a batch holds one split, and only a split's last one may be shorter.

        Yields:
            Records ordered by split (train, val, test), then by id.

        Raises:
            SpecError: the query does not bind or fails.
            DataError: an id, study or image is null, an id stands twice, a split is none of the three, or the disk is
                full.
        """
        hashes: list[npt.NDArray[np.float64]] = []
        for batch in self._run(entry, fields, batch_rows):
            hashes.append(batch.column(VARIANT_HASH).to_numpy().copy())  # a view would hold the whole batch
            yield batch
        # Different hashes mean different ids; only where two are equal must the texts be compared.
        every = np.concatenate(hashes or [np.zeros(0)])
        if len(np.unique(every)) < len(every):
            self._check_unique(entry)

    def _run(self, entry: TaskEntry, fields: list[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        columns = self.columns(entry)
        names = [name for name, *_ in CONTRACT if name in columns] + [
            name for name in fields if name not in CONTRACT_NAMES
        ]
        wanted = ", ".join(_SHUFFLED if name == "options" else f'"{name}"' for name in names)

        def rows(order: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
            query = f"SELECT {wanted}, stable_hash(id, 'variant') AS {VARIANT_HASH} FROM {self._corrected(entry)}"
            return checked(entry, self._connection.sql(query + order), batch_rows)

        if self._keep is not None:
            keep = partial(self._keep, "records")
            yield from put_in_order(self._bounded(entry, lambda: keep(*rows(""))), batch_rows)
            return
        try:  # in memory DuckDB sorts faster
            yield from cut(rows(f" ORDER BY {ORDER}")[1], batch_rows)
        except (duckdb.Error, OSError) as error:  # one amid the rows is an OSError to Arrow
            raise _explain(entry, error) from None

    def _bounded(self, entry: TaskEntry, run: Callable[[], pa.Table]) -> pa.Table:
        """What a query gives; it runs again within the next bound if its memory does not do."""
        while True:
            try:
                self.columns(entry)
                return run()
            except (duckdb.Error, OSError) as error:
                _refuse_full_disk(error)
                if not self._bounds or "Out of Memory" not in str(error):
                    raise _explain(entry, error) from None
            self._connection.close()
            self._open()

    def _check_unique(self, entry: TaskEntry) -> None:
        def repeated() -> pa.Table:
            query = f"SELECT id FROM {self._corrected(entry)} GROUP BY id HAVING count(*) > 1 ORDER BY id"
            return self._connection.sql(query).to_arrow_table()

        twice = self._bounded(entry, repeated)["id"].to_pylist()
        if twice:
            more = f" and {len(twice) - 3} more" if len(twice) > 3 else ""
            raise DataError(
                f"{entry.query_place()}: {entry.name}: ids must be unique; several records have the id"
                f" {', '.join(twice[:3])}{more}"
            )

    def images(self, entry: TaskEntry) -> Iterator[tuple[str, str]]:
        """The images that a task's records refer to, each once: the source that holds it, and its path.

        Raises:
            SpecError: the query does not bind or fails.
        """
        columns = self.columns(entry)
        if "images" not in columns:
            return
        given = [name for name in ("image_namespace", "namespace") if name in columns]
        held_by = f"coalesce({', '.join([*given, '$default'])})"
        query = (
            f"SELECT DISTINCT * FROM (SELECT {held_by}, unnest(images) AS path FROM (\n{_query(entry)}\n))"
            " WHERE path IS NOT NULL"
        )
        named = {"default": entry.namespace}
        found = self._bounded(entry, lambda: self._connection.sql(query, params=named).to_arrow_table())
        for batch in found.to_batches(_BATCH_ROWS):
            yield from zip(*batch.to_pydict().values(), strict=True)

    def count_distinct(self, texts: pa.ChunkedArray) -> int:
        """How many different texts there are among some, none of them null."""
        hashes = -1
        self._connection.register("_texts", pa.table({"text": texts}))
        with suppress(duckdb.Error):  # for want of memory or disk: the texts are counted without it
            (hashes,) = self._connection.execute("SELECT count(DISTINCT hash(text)) FROM main._texts").fetchall()[0]
        self._connection.unregister("_texts")  # it would hold the texts
        if hashes == len(texts):  # no two are equal; this is several times as fast as to look at the texts
            return len(texts)
        return int(pc.count_distinct(texts).as_py())

    def _corrected(self, entry: TaskEntry) -> str:
        """A task's query, with the splits that the recipe's corrections give."""
        table = self._corrections.get(entry.config)
        if table is None:
            return f"(\n{_query(entry)}\n)"
        self._connection.register("_corrected", table)
        return (
            f"(SELECT given.* REPLACE (coalesce(_corrected.split, given.split) AS split) FROM (\n{_query(entry)}\n)"
            " AS given LEFT JOIN main._corrected AS _corrected ON _corrected.id = given.id"
            " WHERE _corrected.id IS NULL OR _corrected.split IS NOT NULL)"
        )

    def _parse(self, entry: TaskEntry) -> list[duckdb.Statement]:
        try:
            return list(self._connection.extract_statements(_query(entry)))
        except duckdb.Error as error:
            raise _explain(entry, error, wrapped=False) from None


def _query(entry: TaskEntry) -> str:
    return entry.task.records.rstrip().rstrip(";")


def _refuse_full_disk(error: duckdb.Error | OSError) -> None:
    """Tell that what a query does not hold in memory could not be written."""
    if match := re.search(r'Could not write file "(.*)": (.*)', str(error)):
        raise DataError(
            f"{match[1]}: cannot be written: {match[2]}. What is finished is kept; make room and run the same command"
            " again"
        ) from None


def _explain(entry: TaskEntry, error: duckdb.Error | OSError, wrapped: bool = True) -> SpecError:
    text = str(error)
    match = re.search(r"^LINE (\d+):", text, re.MULTILINE)
    line = max(1, int(match[1]) - wrapped) if match else 1
    message = " ".join(text[: match.start()].split()) if match else " ".join(text.split())
    return SpecError(f"{entry.query_place(line)}: {entry.name}: {message}")
