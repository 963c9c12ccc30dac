"""The tables of a build's sources, and the digests of the files they were read from."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from instruct.build.files import explaining
from instruct.build.selection import Selection, reader_options
from instruct.digest import digest_file
from instruct.sources import Files, Options, get_source

Read = tuple[dict[str, pa.Table], dict[str, str]]


# Tables up to this size stay in memory.
_SMALL = 16 << 20
# Rows that DuckDB's threads take at a time.
_BATCH_ROWS = 1 << 16


class SourceTables:
    """The sources of a plan, each read once and forgotten after its last use.

    Args:
        selection: what is planned.
        scratch: folder on whose disk large tables of several sources wait for their queries, rather than in memory; it
            stays empty.
    """

    def __init__(self, selection: Selection, scratch: Path | None = None) -> None:
        self._selection = selection
        self._scratch = scratch if len(selection.roots) > 1 else None
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
                    tables = source.tables_of(files, self.options(name))
                except BaseException:
                    stop.set()
                    raise
                inputs = digests.result()
            for table in tables:
                tables[table] = self._kept(f"{name}.{table}", tables[table])
            pa.default_memory_pool().release_unused()  # Arrow keeps what reading needed
            self._read[name] = tables, inputs
        return self._read[name]

    def keep_only(self, names: set[str]) -> None:
        """Forget every other source."""
        self._read = {name: read for name, read in self._read.items() if name in names}

    def _kept(self, name: str, table: pa.Table) -> pa.Table:
        """The table; a large one mapped from a file that has no name any more, so that nothing is left of it."""
        if self._scratch is None or table.nbytes <= _SMALL:
            return table
        file = self._scratch / f"{name}.arrow"
        self._scratch.mkdir(parents=True, exist_ok=True)
        with explaining(file):
            with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table, _BATCH_ROWS)
            mapped = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
            file.unlink()
        return mapped


def _digests(files: Files, stop: threading.Event) -> dict[str, str]:
    """The digest of each file by its path below the root; those left when ``stop`` is set are not read."""
    return {files.relative(path): digest_file(path) for path in files.all() if not stop.is_set()}
