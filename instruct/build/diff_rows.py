"""Rows of two builds side by side in a database: which are in one alone, and what of the others differs.

Of each example only 64-bit hashes are held, one for each thing that can differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from instruct.build.image_table import image_schema
from instruct.shard import open_shard

# Ids shown of each kind of difference.
EXAMPLES = 3
# What of an example can differ, in this order, and what is hashed of it. `images` are the keys, or the stored bytes.
_ASPECTS = {
    "split": "split",
    "variant": "provenance.variant",
    "prompt": """[x for x in conversations if x."from" <> 'gpt']""",
    "answer": """[x.value for x in conversations if x."from" = 'gpt']""",
    "images": "[keys.images::VARCHAR, [hash(x.bytes) for x in images]::VARCHAR]",
    "image paths": "[x.path for x in images]",
    "regions": "regions",
    "options": "[options, answers]",
    "keys": "[[keys.patient], keys.studies]",
    "provenance": "[provenance.origin, provenance.template, provenance.template_digest, provenance.spec_digest]",
}
_COLUMNS = ("id", "images", "conversations", "regions", "options", "answers", "keys", "provenance")
# A shard of a build: its split (or nothing), and its entry in the manifest.
Shard = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Difference:
    """Examples, records or images that differ in one way.

    Attributes:
        kind: added, removed or changed.
        reason: of what is changed, everything that differs; of what is added or removed, why, where that is known.
        number: how many.
        ids: the first of them.
    """

    kind: str
    reason: str
    number: int
    ids: list[str]


class Rows:
    """What two builds hold, in one database.

    Args:
        folders: the dataset folders.
        variants: whether a record may have several examples, which its variant then tells apart.
    """

    def __init__(self, folders: Sequence[Path], variants: bool) -> None:
        self._folders = folders
        self._key = "keys.record || '#' || provenance.variant" if variants else "keys.record"
        self._db = duckdb.connect()
        for name, folder in zip(("bad_before", "bad_after"), folders, strict=True):
            self._db.execute(f"CREATE TABLE {name} (task VARCHAR, id VARCHAR, reason VARCHAR)")
            file = folder / "quarantine.jsonl"
            if file.is_file() and file.stat().st_size:
                columns = dict.fromkeys(("task", "id", "reason"), "VARCHAR")
                self._db.read_json(str(file), format="newline_delimited", columns=columns).insert_into(name)

    def examples(self, task: str, shards: Sequence[Sequence[Shard]]) -> list[Difference]:
        """What differs between the examples of some shards of each build.

        Args:
            task: ``[Task] [Dataset]``.
            shards: of the one build, of the other.
        """
        names = [_column(aspect) for aspect in _ASPECTS]
        hashes = ", ".join(f"hash({value})" for value in _ASPECTS.values())
        for side, folder, some in zip("ab", self._folders, shards, strict=True):
            types = ", ".join(f"{name} UBIGINT" for name in names)
            self._db.execute(f"CREATE OR REPLACE TEMP TABLE {side} (key VARCHAR, id VARCHAR, record VARCHAR, {types})")
            for split, shard in some:
                self._db.register("given", _open(folder / shard["file"], _COLUMNS))
                self._db.execute(
                    f"INSERT INTO {side} SELECT {self._key}, id, keys.record, {hashes}"
                    " FROM (SELECT *, $split AS split FROM given)",
                    {"split": split},
                )
                self._db.unregister("given")
        reasons = ", ".join(f"CASE WHEN a.{_column(one)} <> b.{_column(one)} THEN '{one}' END" for one in _ASPECTS)
        # Why one build alone has it: it has the record in other variants, or the other one has left it out.
        why = (
            "CASE WHEN {0}.record IN (SELECT record FROM {1}) THEN 'another variant of a record of both'"
            " ELSE (SELECT any_value('quarantined there: ' || reason) FROM {2}"
            " WHERE task = $task AND id = {0}.record) END"
        )
        return self._differences(
            f"concat_ws(', ', {reasons})",
            added=why.format("b", "a", "bad_before"),
            removed=why.format("a", "b", "bad_after"),
            same=" AND ".join(f"a.{name} = b.{name}" for name in names),
            key="key",
            parameters={"task": task},
        )

    def quarantine(self, task: str) -> list[Difference]:
        """What differs between the records left out of a task."""
        for side, table in (("a", "bad_before"), ("b", "bad_after")):
            self._db.execute(
                f"CREATE OR REPLACE TEMP TABLE {side} AS SELECT id, reason FROM {table} WHERE task = $task",
                {"task": task},
            )
        return self._differences(
            "a.reason || ' to ' || b.reason", added="b.reason", removed="a.reason", same="a.reason = b.reason"
        )

    def images(self, shards: Sequence[Sequence[Shard]]) -> list[Difference]:
        """What differs between the images of some shards of an images table of each build."""
        for side, folder, some in zip("ab", self._folders, shards, strict=True):
            self._db.execute(f"CREATE OR REPLACE TEMP TABLE {side} (id VARCHAR, pixels UBIGINT, everything UBIGINT)")
            for _, shard in some:
                self._db.register("given", _open(folder / shard["file"], image_schema().names))
                self._db.execute(f"INSERT INTO {side} SELECT path, hash(content_hash), hash(given) FROM given")
                self._db.unregister("given")
        return self._differences(
            "CASE WHEN a.pixels <> b.pixels THEN 'pixels' ELSE 'encoding or facts, not pixels' END",
            added="NULL",
            removed="NULL",
            same="a.everything = b.everything",
        )

    def _differences(
        self,
        changed: str,
        *,
        added: str,
        removed: str,
        same: str,
        key: str = "id",
        parameters: Mapping[str, str] | None = None,
    ) -> list[Difference]:
        """Rows of the tables a and b that differ, by reason; each argument but the key is an expression of theirs."""
        rows = self._db.execute(
            f"""
            SELECT kind, coalesce(reason, ''), count(*), list_slice(list(id ORDER BY id), 1, {EXAMPLES}) FROM (
                SELECT
                    coalesce(b.id, a.id) AS id,
                    CASE WHEN a.id IS NULL THEN 'added' WHEN b.id IS NULL THEN 'removed' ELSE 'changed' END AS kind,
                    CASE WHEN a.id IS NULL THEN {added} WHEN b.id IS NULL THEN {removed} ELSE {changed} END AS reason
                FROM a FULL JOIN b ON a.{key} = b.{key} WHERE ({same}) IS NOT TRUE
            ) GROUP BY ALL ORDER BY ALL
            """,
            dict(parameters or {}),
        ).fetchall()
        return sorted((Difference(*row) for row in rows), key=lambda one: (one.kind, -one.number, one.reason))


def _column(aspect: str) -> str:
    return aspect.replace(" ", "_")


def _open(file: Path, columns: Sequence[str]) -> pa.Table:
    with open_shard(file) as shard:
        return shard.read_all().select(columns)
