"""The tables of a build's sources, and the digests of the files they were read from."""

from __future__ import annotations

import pyarrow as pa

from instruct.build.selection import Selection, reader_options
from instruct.digest import digest_file
from instruct.sources import Options, get_source


class SourceTables:
    """The sources of a plan, each read once and forgotten after its last use."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._read: dict[str, tuple[dict[str, pa.Table], dict[str, str]]] = {}

    def options(self, name: str) -> Options:
        """Options of a source's reader."""
        choice = self._selection.recipe.sources.get(name)
        return reader_options(get_source(name), choice.options if choice else {})

    def get(self, name: str) -> tuple[dict[str, pa.Table], dict[str, str]]:
        """Tables of a source, and the digest of each of its files."""
        if name not in self._read:
            source = get_source(name)
            files = source.find(self._selection.roots[name])
            inputs = {files.relative(path): digest_file(path) for path in files.all()}
            self._read[name] = source.tables_of(files, self.options(name)), inputs
        return self._read[name]

    def keep_only(self, names: set[str]) -> None:
        """Forget every other source."""
        self._read = {name: read for name, read in self._read.items() if name in names}
