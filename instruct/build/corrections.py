"""Corrections: the records of a build that get another split, or none, because the recipe mends leaks.

``splits: {DATASET: follow_upstream}`` gives a record the split of its study in the source it was taken from, and leaves
out what leaks all the same; ``drop_leaks`` only leaves out. ``leave_out`` names keys. All records of the build are gone
through once before any is worded, so such a build reads its sources twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instruct.audit.copies import DIGEST, link_copies
from instruct.audit.derived import Derived
from instruct.audit.official import SOURCE as OFFICIAL
from instruct.audit.official import official_splits
from instruct.audit.protected import image_beginnings, protected_sets, protected_studies
from instruct.audit.shards import KINDS
from instruct.build.selection import Selection
from instruct.build.tables import SourceTables
from instruct.errors import UsageError
from instruct.specs.contract import namespaces
from instruct.specs.task_spec import SPLITS, TaskEntry
from instruct.specs.terms import told_terms

_BATCH = 50_000
_PATIENT, _STUDY, _IMAGE = (KINDS.index(kind) for kind in ("patient", "study", "image"))
_SPLIT_NUMBERS = pa.array(SPLITS)


@dataclass(frozen=True)
class Corrections:
    """What the recipe's rules change.

    Attributes:
        tables: configuration to records: ``id`` and ``split``, null where the record is left out.
        moved: configuration to what happened, as ``train to test`` and ``train left out``: number of records.
    """

    tables: dict[str, pa.Table]
    moved: dict[str, dict[str, int]]


def find_corrections(selection: Selection, sources: SourceTables) -> Corrections:
    """Find the records that the recipe's ``splits`` and ``leave_out`` change.

    Raises:
        UsageError: a dataset is not in the recipe, an upstream's splits are not known, or no record has a key.
        SpecError, DataError: see :meth:`RecordQueries.records`.
    """
    recipe = selection.recipe
    if not recipe.splits and not recipe.leave_out:
        return Corrections({}, {})
    datasets = sorted({entry.spec.dataset for entry in selection.entries})
    for name in recipe.splits:
        if name not in datasets:
            near = get_close_matches(name, datasets, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"splits: the recipe builds no dataset {name!r}.{hint} It builds: {', '.join(datasets)}")
    with TemporaryDirectory(prefix="cxr-instruct-splits-") as scratch, duckdb.connect(":memory:") as db:
        db.execute("SET temp_directory = ?", [scratch])
        records = _Records(db, selection, sources)
        # Those nearer to the originals first: the others follow the splits that these have then.
        for name in sorted(recipe.splits, key=lambda name: (len(records.upstream(name)), name)):
            if recipe.splits[name] == "follow_upstream":
                records.follow(name)
        records.leave_out(recipe.leave_out)
        records.drop_leaks(list(recipe.splits))
        return records.changed()


class _Records:
    """The records of a build and their keys, in two tables.

    ``records (g, config, id, before, now, own)`` has splits as numbers, from 0 for train; ``now`` is null where a
    record is left out, ``own`` says that it is of a protected set, by its row or by an image. ``held (kind, key, g)``
    has digests of their keys, ``named (key)`` those keys of images that are asked for by text: of images that re-issue
    others or are re-issued, and of protected sets.
    """

    def __init__(self, db: duckdb.DuckDBPyConnection, selection: Selection, sources: SourceTables) -> None:
        self._db = db
        self._selection = selection
        self._entries = [entry for entry in selection.entries if entry.config not in selection.absent]
        told = told_terms(entry.spec for entry in selection.entries)
        self._derived = Derived({source: facts["upstream"] for source, facts in told.items()})
        self._official = official_splits(selection.roots)
        self._count = 0
        db.execute(
            "CREATE TABLE records (g UINTEGER, config INTEGER, id VARCHAR, before TINYINT, now TINYINT, own BOOL)"
        )
        db.execute(f"CREATE TABLE held AS SELECT 0::UTINYINT AS kind, {DIGEST}('') AS key, 0::UINTEGER AS g LIMIT 0")
        db.execute("CREATE TABLE named (key VARCHAR)")
        copies = list(self._derived.copies(entry.spec.source for entry in self._entries))
        known_by_image = [item for item in protected_sets() if item.images]
        named = {name for pair in copies for name in pair} | {item.namespace for item in known_by_image}
        self._named = pa.array(sorted(filter(None, named)), pa.string())
        for entry, batch in self._read(sources):
            self._add(entry, batch)
        link_copies(db, copies, self._find_owners)
        beginnings = pa.concat_arrays([pa.array([], pa.string()), *map(image_beginnings, known_by_image)])
        db.register("beginnings", pa.table({"start": beginnings}))
        db.execute(
            f"""
            UPDATE records SET own = true WHERE g IN (
                SELECT g FROM held WHERE kind = {_IMAGE} AND key IN (
                    SELECT {DIGEST}(key) FROM named WHERE EXISTS (FROM beginnings WHERE starts_with(named.key, start))
                )
            )
            """
        )

    def upstream(self, dataset: str) -> list[str]:
        """Sources that a dataset reuses."""
        own = {entry.spec.source for entry in self._entries if entry.spec.dataset == dataset}
        return sorted({name for source in own for name in self._derived.upstream(source)})

    def follow(self, dataset: str) -> None:
        """Give records the split that their study or image, or else their patient, has upstream."""
        own = {entry.spec.source for entry in self._entries if entry.spec.dataset == dataset}
        upstream = self.upstream(dataset)
        configs = self._configs("source", upstream)
        self._db.register("official", self._official if OFFICIAL in upstream else self._official.slice(0, 0))
        self._db.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE truth AS
            SELECT kind, key, max(now) AS now FROM (
                SELECT kind, key, now FROM held JOIN records USING (g) WHERE config IN {configs}
                UNION ALL SELECT {_STUDY}, {DIGEST}(key), list_position({list(SPLITS)}, split) - 1 FROM official
            ) GROUP BY kind, key
            """
        )
        if own and not self._number("SELECT count(*) FROM truth"):
            raise UsageError(
                f"splits: {dataset} cannot follow its upstream ({', '.join(upstream) or 'it has none'}): neither rows"
                " of it nor its list of splits are in the build; add it to the recipe's sources, or use drop_leaks"
            )
        self._db.execute(
            f"""
            UPDATE records SET now = found.now FROM (
                SELECT g, coalesce(max(truth.now) FILTER (kind <> {_PATIENT}), max(truth.now)) AS now
                FROM held JOIN truth USING (kind, key) JOIN records USING (g)
                WHERE config IN {self._configs("dataset", [dataset])} GROUP BY g
            ) AS found WHERE records.g = found.g
            """
        )

    def leave_out(self, keys: list[str]) -> None:
        """Leave records of train and val out by key."""
        if not keys:
            return
        self._db.register("asked", pa.table({"text": pa.array(keys, pa.string())}))
        self._db.execute(f"CREATE OR REPLACE TEMP TABLE leaving AS SELECT {DIGEST}(text) AS key, text FROM asked")
        unknown = self._db.execute("SELECT text FROM leaving ANTI JOIN held USING (key) ORDER BY text").fetchall()
        if unknown:
            raise UsageError(
                f"leave_out: no record has the key {unknown[0][0]!r} (and {len(unknown) - 1} more);"
                " keys are source/patient, source/study or source/image, as the audit names them"
            )
        self._db.execute(
            "UPDATE records SET now = NULL WHERE now < 2 AND g IN (SELECT g FROM held SEMI JOIN leaving USING (key))"
        )

    def drop_leaks(self, datasets: list[str]) -> None:
        """Leave records out that share a key with a better protected split, or with a protected set."""
        self._db.register("studies", protected_studies(self._official))
        self._db.execute(
            f"""
            UPDATE records SET now = NULL WHERE config IN {self._configs("dataset", datasets)} AND (
                g IN (
                    SELECT g FROM held JOIN records USING (g) JOIN (
                        SELECT kind, key, max(now) AS best FROM held JOIN records USING (g) GROUP BY kind, key
                    ) USING (kind, key) WHERE best > now
                ) OR now = 0 AND (
                    own
                    OR g IN (SELECT g FROM held WHERE kind = {_STUDY} AND key IN (SELECT {DIGEST}(key) FROM studies))
                )
            )
            """
        )

    def changed(self) -> Corrections:
        """The records whose split is another now."""
        tables, moved = {}, {}
        for number, entry in enumerate(self._entries):
            query = f"FROM records WHERE config = {number} AND now IS DISTINCT FROM before"
            table = self._db.sql(f"SELECT id, {list(SPLITS)}[now + 1] AS split {query} ORDER BY id").to_arrow_table()
            if not len(table):
                continue
            tables[entry.config] = table.cast(pa.schema([("id", pa.string()), ("split", pa.string())]))
            counts = self._db.execute(f"SELECT before, now, count(*) {query} GROUP BY ALL ORDER BY ALL").fetchall()
            moved[entry.config] = {
                f"{SPLITS[before]} " + ("left out" if now is None else f"to {SPLITS[now]}"): count
                for before, now, count in counts
            }
        return Corrections(tables, moved)

    def _number(self, query: str) -> int:
        return int(self._db.execute(query).fetchall()[0][0])

    def _configs(self, kind: str, names: list[str]) -> str:
        """Tasks of some sources or datasets, as a list in SQL."""
        found = [number for number, entry in enumerate(self._entries) if getattr(entry.spec, kind) in names]
        return f"({', '.join(map(str, found)) or '-1'})"

    def _read(self, sources: SourceTables) -> Iterator[tuple[TaskEntry, pa.RecordBatch]]:
        for _, group in groupby(self._entries, key=lambda entry: entry.file.path):
            entries = list(group)
            spec = entries[0].spec
            sources.keep_only({spec.source, *spec.reads})
            with sources.queries(spec) as queries:
                for entry in entries:
                    for batch in queries.records(entry, [], _BATCH):
                        yield entry, batch

    def _add(self, entry: TaskEntry, batch: pa.RecordBatch) -> None:
        numbers = pa.array(np.arange(self._count, self._count + len(batch)), pa.uint32())
        self._count += len(batch)
        splits = pc.index_in(batch.column("split"), _SPLIT_NUMBERS).cast(pa.int8())
        own = pa.repeat(pa.scalar(False), len(batch))
        for item in protected_sets():
            if item.source == entry.spec.source:
                own = pc.or_(own, pc.starts_with(batch.column("origin"), item.origin))
        namespace, image_namespace = namespaces(batch, entry.namespace)
        self._hold(_PATIENT, pc.binary_join_element_wise(namespace, batch.column("patient"), "/"), numbers)
        for kind, column, held_by in ((_STUDY, "studies", namespace), (_IMAGE, "images", image_namespace)):
            if column not in batch.schema.names:
                continue
            lists = batch.column(column)
            rows = pc.list_parent_indices(lists)
            held_by = held_by.take(rows)
            keys = pc.binary_join_element_wise(held_by, lists.flatten(), "/")
            self._hold(kind, keys, numbers.take(rows))
            if kind == _IMAGE:
                self._insert("named", "*", [keys.filter(pc.is_in(held_by, value_set=self._named))])
        config = pa.repeat(pa.scalar(self._entries.index(entry), pa.int32()), len(batch))
        self._insert("records", "*", [numbers, config, batch.column("id"), splits, splits, own])

    def _hold(self, kind: int, keys: pa.Array, numbers: pa.Array) -> None:
        self._insert("held", f"{kind}, {DIGEST}(c0), c1", [keys, numbers])

    def _insert(self, name: str, columns: str, given: list[pa.Array]) -> None:
        self._db.register("given", pa.table(given, [f"c{place}" for place in range(len(given))]))
        self._db.execute(f"INSERT INTO {name} SELECT {columns} FROM given WHERE c0 IS NOT NULL")
        self._db.unregister("given")

    def _find_owners(self, _: str) -> None:
        """See :func:`link_copies`: study and patient of images, where a record has one image and one study."""
        self._db.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE owned AS
            WITH single AS (
                SELECT g, any_value(key) FILTER (kind = {_IMAGE}) AS image FROM held GROUP BY g
                HAVING count(*) FILTER (kind = {_IMAGE}) = 1 AND count(*) FILTER (kind = {_STUDY}) = 1
            )
            SELECT DISTINCT original, kind, held.key AS key
            FROM single JOIN linked ON image = {DIGEST}(original) JOIN held USING (g) WHERE kind <> {_IMAGE}
            """
        )
