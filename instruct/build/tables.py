"""The tables of a build's sources, and the digests of the files they were read from."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path

import pyarrow as pa

from instruct.build.batches import appending
from instruct.build.selection import Selection, reader_options
from instruct.digest import digest_file
from instruct.errors import DataError
from instruct.memory import give_back
from instruct.sources import Files, Options, Rows, get_source
from instruct.specs.records import RecordQueries
from instruct.specs.task_spec import TaskSpec

Read = tuple[dict[str, pa.Table], dict[str, str]]


# Tables up to this size stay in memory.
_SMALL = 16 << 20
# Rows that DuckDB's threads take at a time.
_BATCH_ROWS = 1 << 16


class SourceTables:
    """The sources of a plan, each read once and forgotten after its last use.

    Args:
        selection: what is planned.
        scratch: folder on whose disk large tables of several sources wait for their queries, rather than in memory,
            and for what a query cannot hold; nothing stays in it.
    """

    def __init__(self, selection: Selection, scratch: Path) -> None:
        self._selection = selection
        self._scratch = scratch
        self._several = len(selection.roots) > 1
        self._read: dict[str, Read] = {}

    def options(self, name: str) -> Options:
        """Options of a source's reader."""
        choice = self._selection.recipe.choices.get(name)
        return reader_options(get_source(name), choice.options if choice else {})

    def get(self, name: str) -> Read:
        """Tables of a source, and the digest of each of its files.

        Raises:
            DataError: a file is missing or malformed.
        """
        if name not in self._read:
            source = get_source(name)
            files = source.find(self._selection.roots[name])
            stop = threading.Event()
            with ThreadPoolExecutor(1) as pool:  # a large file's digest leaves the interpreter to the reader
                digests = pool.submit(_digests, files, stop)
                try:
                    tables = source.tables_of(files, self.options(name), partial(self._keep, name))
                except BaseException as error:
                    stop.set()
                    if isinstance(error, OSError):
                        raise DataError(f"{error.filename or files.root}: cannot be read: {error.strerror}") from error
                    error.add_note(f"in the reader of source {name}")
                    raise
                inputs = digests.result()
            if self._several:
                give_back()
            self._read[name] = tables, inputs
        return self._read[name]

    def queries(self, spec: TaskSpec, corrections: Mapping[str, pa.Table] | None = None) -> RecordQueries:
        """The queries of a spec's tasks, over the tables of the sources that it reads.

        Args:
            spec: the spec.
            corrections: see :class:`RecordQueries`.

        Raises:
            DataError: a file is missing or malformed.
        """
        recipe = self._selection.recipe
        names = (spec.source, *spec.reads)
        return RecordQueries(
            get_source(spec.source),
            {name: self.get(name)[0] for name in names},
            reads=[get_source(name) for name in spec.reads],
            seed=recipe.seed,
            mentions_change=recipe.mentions_change,
            corrections=corrections,
            spill=self._scratch / "spilled" if self._several else None,
            keep=partial(self._keep, spec.source) if self._several else None,
        )

    def keep_only(self, names: set[str]) -> None:
        """Forget every other source."""
        self._read = {name: read for name, read in self._read.items() if name in names}
        if self._several:
            give_back()

    def _keep(self, source: str, name: str, schema: pa.Schema, rows: Rows) -> pa.Table:
        """A table of a source: a small one in memory, a large one of several sources in a file."""
        first: list[pa.RecordBatch] = []
        if isinstance(rows, pa.Table):
            if not self._several or rows.nbytes <= _SMALL:
                return rows
            batches = iter(rows.to_batches(_BATCH_ROWS))
        else:
            batches, size = rows, 0
            while not self._several or size <= _SMALL:
                batch = next(batches, None)
                if batch is None:
                    return pa.Table.from_batches(first, schema)
                first.append(batch)
                size += batch.nbytes
        held = (first.pop(0) for _ in range(len(first)))  # forgotten once written
        table = _mapped(self._scratch / f"{source}.{name}.arrow", chain(held, batches))
        give_back()
        return table


def _mapped(file: Path, batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """A table mapped from a file that has no name any more, so that nothing is left of it."""
    try:
        with appending(file) as append:
            for batch in batches:
                append(batch)
        return pa.ipc.open_file(pa.memory_map(str(file))).read_all()
    finally:
        file.unlink(missing_ok=True)


def _digests(files: Files, stop: threading.Event) -> dict[str, str]:
    """The digest of each file by its path below the root; those left when ``stop`` is set are not read."""
    return {files.relative(path): digest_file(path) for path in files.all() if not stop.is_set()}
