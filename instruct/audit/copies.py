"""Re-issued pictures: images of one source that are files of another under new folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import duckdb

from instruct.audit.shards import KINDS

# Keys stand in tables as 128-bit digests: these are smaller and quicker to compare. Two keys of one digest are less
# likely in any build than a fault of the machine (of 10 million keys: 1.5e-25).
DIGEST = "md5_number"
NAMESPACE = "left(key, instr(key, '/') - 1)"
# The name of an image file without folders and last ending, after the namespace.
_STEM = r"([^/]+?)(\.[A-Za-z0-9]{1,5})?$"
_IMAGE = KINDS.index("image")


def link_copies(
    db: duckdb.DuckDBPyConnection, pairs: Iterable[tuple[str, str]], find_owners: Callable[[str], None]
) -> int:
    """Let images of a source count as those of an upstream that have the same file name.

    A re-issued picture keeps its name where its namespace and folder change: ``covidx_cxr3/train/ID.png`` is
    ``rsna/stage_2_train_images/ID.dcm``. Whoever has it has also the study and patient that the upstream's rows give
    it. Names that stand for several images of either source (``0.png``) say nothing and are not used.

    Args:
        db: holds the table ``held (kind, key, g)``, of digests, which is added to, and ``named (key)``, the
            texts of all image keys of these sources.
        pairs: namespaces of images, and of those they are copies of; in this order.
        find_owners: makes a table ``owned (original, kind, key)``: the digests of studies and patients that the rows of
            an upstream give the images in the column ``original`` of the table ``linked``.

    Returns:
        Number of images linked.
    """
    db.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE single AS
        SELECT namespace, stem, any_value(key) AS key FROM (
            SELECT DISTINCT {NAMESPACE} AS namespace, regexp_extract(key, '{_STEM}', 1) AS stem, key
            FROM named
        ) GROUP BY namespace, stem HAVING count(*) = 1
        """
    )
    present = {name for (name,) in db.execute("SELECT DISTINCT namespace FROM single").fetchall()}
    return sum(
        _link(db, source, upstream, find_owners)
        for source, upstream in pairs
        if source in present and upstream in present
    )


def _link(db: duckdb.DuckDBPyConnection, source: str, upstream: str, find_owners: Callable[[str], None]) -> int:
    db.execute(
        """
        CREATE OR REPLACE TEMP TABLE linked AS
        SELECT copy.key AS copy, original.key AS original FROM single AS copy JOIN single AS original USING (stem)
        WHERE copy.namespace = ? AND original.namespace = ?
        """,
        [source, upstream],
    )
    (found,) = db.execute("SELECT count(DISTINCT original) FROM linked").fetchall()[0]
    if found:
        find_owners(upstream)
        db.execute(
            f"""
            INSERT INTO held
            WITH copies AS (
                SELECT original, g FROM held JOIN linked ON key = {DIGEST}(copy) WHERE kind = {_IMAGE}
            )
            SELECT {_IMAGE} AS kind, {DIGEST}(original) AS key, g FROM copies
            UNION SELECT owned.kind, owned.key, g FROM copies JOIN owned USING (original)
            EXCEPT SELECT * FROM held
            """
        )
    return int(found)
