"""The keys of a dataset folder: how many there are, and which of them two groups share, counted exactly.

DuckDB does the grouping, within a fixed amount of memory; what does not fit goes to disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from types import TracebackType

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from instruct.audit.copies import DIGEST, NAMESPACE, link_copies
from instruct.audit.shards import KINDS, Group, count_records, every_key, keys_of, keys_of_images
from instruct.errors import DataError

_MEMORY = "250MB"
# Each thread needs buffers of its own, which many would not find room for.
_THREADS = 4
_IMAGE = KINDS.index("image")
_WORD = 63  # rows whose bits are one number


@dataclass(frozen=True)
class Overlap:
    """Keys that two groups have in common.

    Attributes:
        kind: patient, study or image; ``text`` for report texts.
        first: index of a group.
        second: index of a later one.
        count: number of keys.
    """

    kind: str
    first: int
    second: int
    count: int


@dataclass
class RowKeys:
    """What one row of the count table holds in one split.

    Attributes:
        records: records; several variants of one record count once.
        images: distinct image keys.
        studies: distinct study keys.
    """

    records: int = 0
    images: int = 0
    studies: int = 0


class KeyIndex:
    """The distinct keys of some groups.

    Args:
        groups: the groups; they are known by their place in this list.

    Raises:
        DataError: at the end of its block, where memory and disk do not do for what was asked in it.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = list(groups)
        self._namespaces: list[set[str]] = []
        self._told = False
        self._scratch = TemporaryDirectory(prefix="cxr-instruct-audit-")
        self._db = duckdb.connect(":memory:")
        run = self._db.execute
        run(f"SET memory_limit = '{_MEMORY}'")
        run("SET temp_directory = ?", [self._scratch.name])
        run(f"SET threads = {min(os.cpu_count() or 1, _THREADS)}; SET preserve_insertion_order = false")
        run(f"CREATE TABLE held AS SELECT 0::UTINYINT AS kind, {DIGEST}('') AS key, 0::USMALLINT AS g LIMIT 0")

    def __enter__(self) -> KeyIndex:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._db.close()
        self._scratch.cleanup()
        if isinstance(error, duckdb.OperationalError):
            raise DataError(
                f"the keys of the dataset cannot be compared: {str(error).splitlines()[0]}. What does not fit into"
                f" {_MEMORY} of memory goes to {self._scratch.name}: make room there, or set TMPDIR to another folder"
            ) from None

    def load(self) -> dict[tuple[str, str], RowKeys]:
        """Read the keys of every group, once.

        Returns:
            Row of the count table and split to what is there of it.
        """
        assert not self._namespaces, "the keys are read already"
        counts: dict[tuple[str, str], RowKeys] = {}
        for number, group in enumerate(self.groups):
            keys = keys_of(group)
            rows = {row: RowKeys(count_records(shards)) for row, shards in keys.items()}
            counts |= {(row, group.split): found for row, found in rows.items()}
            held = list(rows.values())
            self._db.register("given", every_key(keys))
            # Each key once, with its rows as bits: most keys stand in several rows, and a digest takes long.
            self._db.execute(
                f"CREATE TEMP TABLE read AS SELECT kind, {DIGEST}(text) AS key, word, rows FROM"
                f" (SELECT kind, key AS text, row // {_WORD} AS word, bit_or(1::UBIGINT << (row % {_WORD})) AS rows"
                " FROM given WHERE key IS NOT NULL GROUP BY kind, text, word)"
            )
            distinct = "DISTINCT" if len(held) > _WORD else ""
            self._db.execute(f"INSERT INTO held SELECT {distinct} kind, key, {number} FROM read")
            alike = self._db.execute("SELECT kind, word, rows, count(*) FROM read GROUP BY ALL").fetchall()
            for kind, word, bits, count in alike:
                for row in (row for row in range(_WORD) if bits >> row & 1):
                    if KINDS[kind] == "image":
                        held[word * _WORD + row].images += count
                    elif KINDS[kind] == "study":
                        held[word * _WORD + row].studies += count
            found = self._db.execute(f"SELECT DISTINCT {NAMESPACE} FROM given WHERE kind = {_IMAGE}").fetchall()
            self._namespaces.append({name for (name,) in found})
            self._db.execute("DROP TABLE read")
            self._db.unregister("given")
        return counts

    def union(self, kind: str, split: str) -> int:
        """Number of distinct keys of a kind in all groups of a split."""
        places = [place for place, group in enumerate(self.groups) if group.split == split]
        distinct = "DISTINCT key" if len(places) > 1 else "*"
        (count,) = self._db.execute(
            f"SELECT count({distinct}) FROM held WHERE kind = {KINDS.index(kind)} AND list_contains({places}, g)"
        ).fetchall()[0]
        return int(count)

    def link(self, pairs: Iterable[tuple[str, str]]) -> int:
        """Let images of sources count as those of upstreams; see :func:`instruct.audit.copies.link_copies`."""
        present = set().union(*self._namespaces)
        pairs = [pair for pair in pairs if present.issuperset(pair)]
        self._name(sorted({name for pair in pairs for name in pair}))
        return link_copies(self._db, pairs, self._find_owners)

    def overlaps(self) -> list[Overlap]:
        """What every two groups share, within one split too."""
        self._db.execute(
            """
            CREATE OR REPLACE TEMP TABLE shared AS
            WITH several AS (SELECT kind, key FROM held GROUP BY kind, key HAVING min(g) <> max(g))
            SELECT kind, key, list_sort(list(g)) AS gs
            FROM held SEMI JOIN several USING (kind, key) GROUP BY kind, key
            """
        )
        self._told = False
        cells: dict[tuple[int, int, int], int] = {}
        for kind, places, count in self._db.execute(
            "SELECT kind, gs, count(*) FROM shared GROUP BY kind, gs"
        ).fetchall():
            for at, first in enumerate(places):
                for second in places[at + 1 :]:
                    cells[kind, first, second] = cells.get((kind, first, second), 0) + count
        return [Overlap(KINDS[kind], first, second, count) for (kind, first, second), count in sorted(cells.items())]

    def shared(self, kind: str, first: int, second: int, limit: int | None = None) -> list[str]:
        """Keys that two groups of different splits share, in order; :meth:`overlaps` must have been called.

        Args:
            kind: patient, study or image.
            first: a group.
            second: another.
            limit: at most this many.
        """
        if not self._told:
            self._tell()
            self._told = True
        return self._texts(
            f"SELECT text FROM leaks WHERE kind = {KINDS.index(kind)} AND list_contains(gs, {first})"
            f" AND list_contains(gs, {second}) ORDER BY text",
            limit,
        )

    def below(self, beginnings: pa.Array) -> pa.Array:
        """The image keys that begin with one of some texts, in order."""
        self._name(pc.unique(pc.list_element(pc.split_pattern(beginnings, "/", max_splits=1), 0)).to_pylist())
        self._db.register("given", pa.table({"start": beginnings}))
        found = self._db.sql(
            "SELECT DISTINCT key FROM named WHERE EXISTS (FROM given WHERE starts_with(named.key, start)) ORDER BY key"
        ).to_arrow_table()["key"]
        self._db.unregister("given")
        return found.cast(pa.string()).combine_chunks()

    def ask(self, kind: str, given: pa.Table) -> dict[tuple[int, str], int]:
        """How many of some keys each group has.

        Args:
            kind: patient, study or image.
            given: columns ``key`` and ``label``; keys without a label are passed over.

        Returns:
            Group and label to a number, where it is not 0.
        """
        self._db.register("given", given)
        self._db.execute(
            f"CREATE OR REPLACE TEMP TABLE asked AS SELECT DISTINCT {DIGEST}(key) AS key, key AS text, label FROM given"
            " WHERE label IS NOT NULL"
        )
        self._db.unregister("given")
        counts = self._db.execute(
            f"SELECT g, label, count(*) FROM held JOIN asked USING (key) WHERE kind = {KINDS.index(kind)}"
            " GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        return {(group, label): count for group, label, count in counts}

    def asked(self, kind: str, group: int, label: str, limit: int | None = None) -> list[str]:
        """The keys that :meth:`ask` counted last of a group and a label, in order."""
        return self._texts(
            f"SELECT text FROM held JOIN asked USING (key) WHERE kind = {KINDS.index(kind)} AND g = {group}"
            " AND label = ? ORDER BY text",
            limit,
            [label],
        )

    def _name(self, namespaces: list[str]) -> None:
        """Find the texts of the image keys of some namespaces: table ``named (key)``."""
        self._db.execute("CREATE OR REPLACE TEMP TABLE named (key VARCHAR)")
        for group, held in zip(self.groups, self._namespaces, strict=True):
            if held.intersection(namespaces):
                self._db.register("given", every_key(keys_of(group)))
                self._db.execute(
                    f"INSERT INTO named SELECT DISTINCT key FROM given"
                    f" WHERE kind = {_IMAGE} AND list_contains(?, {NAMESPACE})",
                    [namespaces],
                )
                self._db.unregister("given")

    def _texts(self, query: str, limit: int | None, given: Sequence[str] = ()) -> list[str]:
        rows = self._db.execute(query + (f" LIMIT {limit}" if limit is not None else ""), given).fetchall()
        return [key for (key,) in rows]

    def _tell(self) -> None:
        """Find the texts of what groups of different splits share: table ``leaks (kind, text, gs)``."""
        splits = [group.split for group in self.groups]
        self._db.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE leaking AS SELECT * FROM shared
            WHERE list_unique(list_transform(gs, lambda g: {splits}[g + 1])) > 1
            """
        )
        self._db.execute("CREATE OR REPLACE TEMP TABLE leaks (kind UTINYINT, text VARCHAR, gs USMALLINT[])")
        concerned = self._db.execute("SELECT DISTINCT unnest(gs) AS g FROM leaking ORDER BY g").fetchall()
        for (number,) in concerned:
            self._db.register("given", every_key(keys_of(self.groups[number])))
            self._db.execute(
                f"INSERT INTO leaks SELECT DISTINCT given.kind, given.key, gs FROM given"
                f" JOIN leaking ON given.kind = leaking.kind AND {DIGEST}(given.key) = leaking.key"
            )
            self._db.unregister("given")
        self._db.execute("CREATE OR REPLACE TEMP TABLE leaks AS SELECT DISTINCT * FROM leaks")

    def _find_owners(self, upstream: str) -> None:
        """See :func:`link_copies`: what the shards of a source give images, where an example has one and one study."""
        linked = self._db.sql("SELECT DISTINCT original FROM linked").to_arrow_table()["original"].combine_chunks()
        files = [file for group in self.groups if group.source == upstream for file in group.files]
        self._db.register("given", keys_of_images(files, linked.cast(pa.string())))
        self._db.execute(
            f"CREATE OR REPLACE TEMP TABLE owned AS SELECT DISTINCT original, kind, {DIGEST}(key) AS key FROM given"
        )
        self._db.unregister("given")
