"""Which keys two groups of a dataset folder share, counted exactly.

DuckDB does the grouping, within a fixed amount of memory; what does not fit goes to disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from instruct.audit.shards import KINDS, Group, distinct_keys, read

_MEMORY = "900MB"
# The name of an image file without folders and last ending, after the namespace.
_STEM = r"([^/]+?)(\.[A-Za-z0-9]{1,5})?$"


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


def link_copies(
    db: duckdb.DuckDBPyConnection, pairs: Iterable[tuple[str, str]], owners: Callable[[str, pa.Array], pa.Table]
) -> int:
    """Let images of a source count as those of an upstream that have the same file name.

    A re-issued picture keeps its name where its namespace and folder change: ``covidx_cxr3/train/ID.png`` is
    ``rsna/stage_2_train_images/ID.dcm``. Whoever has it has also the study and patient that the upstream's rows give
    it. Names that stand for several images of either source (``0.png``) say nothing and are not used.

    Args:
        db: holds the table ``held (kind, key, g)``, which is added to.
        pairs: namespaces of images, and of those they are copies of; in this order.
        owners: gives the studies and patients of some images of an upstream: columns original, kind (number) and key.

    Returns:
        Number of images linked.
    """
    image = KINDS.index("image")
    # Linking gives groups keys that others have already: the images stay the same.
    db.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE single AS
        SELECT namespace, stem, any_value(key) AS key FROM (
            SELECT split_part(key, '/', 1) AS namespace, regexp_extract(key, '{_STEM}', 1) AS stem, key
            FROM (SELECT DISTINCT key FROM held WHERE kind = {image})
        ) GROUP BY namespace, stem HAVING count(*) = 1
        """
    )
    present = {name for (name,) in db.execute("SELECT DISTINCT namespace FROM single").fetchall()}
    found = 0
    for source, upstream in pairs:
        if source in present and upstream in present:
            found += _link(db, source, upstream, owners)
    return found


def _link(
    db: duckdb.DuckDBPyConnection, source: str, upstream: str, owners: Callable[[str, pa.Array], pa.Table]
) -> int:
    image = KINDS.index("image")
    db.execute(
        """
        CREATE OR REPLACE TEMP TABLE linked AS
        SELECT copy.key AS copy, original.key AS original FROM single AS copy JOIN single AS original USING (stem)
        WHERE copy.namespace = ? AND original.namespace = ?
        """,
        [source, upstream],
    )
    linked = db.sql("SELECT DISTINCT original FROM linked").to_arrow_table()["original"].combine_chunks()
    if len(linked):
        db.register("owned", owners(upstream, linked))
        db.execute(
            f"""
            INSERT INTO held
            WITH copies AS (SELECT original, g FROM held JOIN linked ON key = copy WHERE kind = {image})
            SELECT {image} AS kind, original AS key, g FROM copies
            UNION SELECT owned.kind, owned.key, g FROM copies JOIN owned USING (original)
            EXCEPT SELECT * FROM held
            """
        )
        db.unregister("owned")
    return len(linked)


def _owners(files: Iterable[Path], images: pa.Array) -> pa.Table:
    """Study and patient that shards give images, where an example has one image and one study."""
    schema = pa.schema([("original", pa.string()), ("kind", pa.uint8()), ("key", pa.string())])
    tables = [schema.empty_table()]
    for keys in (batch.column("keys") for file in files for batch in read(file, ["keys"])):
        shown, studies, patient = (keys.field(name) for name in ("images", "studies", "patient"))
        single = pc.and_(pc.equal(pc.list_value_length(shown), 1), pc.equal(pc.list_value_length(studies), 1))
        shown, studies, patient = (part.filter(single) for part in (shown, studies, patient))
        wanted = pc.is_in(shown.flatten(), value_set=images)
        original = shown.flatten().filter(wanted)
        for kind, owner in (("study", studies.flatten()), ("patient", patient)):
            number = pa.repeat(pa.scalar(KINDS.index(kind), pa.uint8()), len(original))
            table = pa.table([original, number, owner.filter(wanted)], schema=schema)
            tables.append(table.filter(pc.is_valid(table["key"])))
    return pa.concat_tables(tables)


class KeyIndex:
    """The distinct keys of some groups.

    Args:
        groups: the groups; they are known by their place in this list.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = list(groups)
        self._scratch = TemporaryDirectory(prefix="cxr-instruct-audit-")
        self._db = duckdb.connect(":memory:")
        run = self._db.execute
        run(f"SET memory_limit = '{_MEMORY}'; SET temp_directory = '{self._scratch.name}'")
        run("SET preserve_insertion_order = false")
        run("CREATE TABLE held (kind UTINYINT, key VARCHAR, g USMALLINT)")

    def __enter__(self) -> KeyIndex:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._db.close()
        self._scratch.cleanup()

    def load(self) -> None:
        """Read the keys of every group."""
        for number, group in enumerate(self.groups):
            for kind, keys in distinct_keys(group).items():
                self.add(number, kind, keys)

    def add(self, group: int, kind: str, keys: pa.Array) -> None:
        """Add distinct keys of a group."""
        self._db.register("given", pa.table({"key": keys}))
        self._db.execute(f"INSERT INTO held SELECT {KINDS.index(kind)}, key, {group} FROM given")
        self._db.unregister("given")

    def link(self, pairs: Iterable[tuple[str, str]]) -> int:
        """Let images of sources count as those of upstreams; see :func:`link_copies`."""

        def owners(upstream: str, images: pa.Array) -> pa.Table:
            return _owners((file for group in self.groups if group.source == upstream for file in group.files), images)

        return link_copies(self._db, pairs, owners)

    def overlaps(self) -> list[Overlap]:
        """What every two groups share, within one split too."""
        self._db.execute(
            """
            CREATE OR REPLACE TEMP TABLE shared AS
            WITH several AS (SELECT kind, key FROM held GROUP BY kind, key HAVING min(g) <> max(g))
            SELECT kind, key, list_sort(list_distinct(list(g))) AS gs
            FROM held SEMI JOIN several USING (kind, key) GROUP BY kind, key
            """
        )
        cells: dict[tuple[int, int, int], int] = {}
        for kind, places, count in self._db.execute(
            "SELECT kind, gs, count(*) FROM shared GROUP BY kind, gs"
        ).fetchall():
            for at, first in enumerate(places):
                for second in places[at + 1 :]:
                    cells[kind, first, second] = cells.get((kind, first, second), 0) + count
        return [Overlap(KINDS[kind], first, second, count) for (kind, first, second), count in sorted(cells.items())]

    def shared(self, kind: str, first: int, second: int, limit: int | None = None) -> list[str]:
        """Keys that two groups share, in order; :meth:`overlaps` must have been called.

        Args:
            kind: patient, study or image.
            first: a group.
            second: another.
            limit: at most this many.
        """
        return self._texts(
            f"SELECT key FROM shared WHERE kind = {KINDS.index(kind)} AND list_contains(gs, {first})"
            f" AND list_contains(gs, {second}) ORDER BY key",
            limit,
        )

    def held_of(
        self, group: int, kind: str, condition: str, given: pa.Table, limit: int | None
    ) -> tuple[int, list[str]]:
        """Number of a group's keys that meet a condition, and the first of them.

        Args:
            group: the group.
            kind: kind of key.
            condition: SQL over ``key`` and the table ``given``.
            given: that table.
            limit: at most this many keys.
        """
        self._db.register("given", given)
        query = f"FROM held WHERE kind = {KINDS.index(kind)} AND g = {group} AND ({condition})"
        (count,) = self._db.execute(f"SELECT count(*) {query}").fetchall()[0]
        keys = self._texts(f"SELECT key {query} ORDER BY key", limit) if count else []
        self._db.unregister("given")
        return count, keys

    def _texts(self, query: str, limit: int | None) -> list[str]:
        rows = self._db.execute(query + (f" LIMIT {limit}" if limit is not None else "")).fetchall()
        return [key for (key,) in rows]
