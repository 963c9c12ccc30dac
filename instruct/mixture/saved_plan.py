"""Plans on disk: ``plan.parquet`` with the draws, ``plan.excluded.jsonl`` with what is left out, ``plan.json``."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from instruct.build.files import read_json, write_bytes, write_json, write_text
from instruct.errors import DataError
from instruct.mixture.index import MixtureIndex
from instruct.mixture.plan import FORMAT, RunPlan, plan_digest
from instruct.mixture.rows import open_rows

PLAN, EXCLUDED, META = "plan.parquet", "plan.excluded.jsonl", "plan.json"


def save_plan(plan: RunPlan, folder: Path, index: MixtureIndex | None = None) -> Path:
    """Write a plan into a folder.

    ``plan.parquet`` has a line per draw, in order: ``step``, ``part``, ``row``, ``length``; ``plan.excluded.jsonl`` a
    line per row that is left out: ``part``, ``label``, ``row``, ``id``, ``reason``; ``plan.json`` the digest and what
    the plan was made of, and comes last.

    Args:
        plan: the plan.
        folder: where to.
        index: the mixture that the plan is of, to look up the ids of rows left out; None writes no ids.

    Returns:
        ``plan.parquet``.

    Raises:
        DataError: the folder cannot be written.
    """
    import pyarrow.parquet as pq

    steps = np.arange(len(plan), dtype=np.int32) // plan.meta["global_batch"]
    table = pa.table({"step": steps, "part": plan.part, "row": plan.row, "length": plan.length})
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd")
    write_bytes(folder / PLAN, content.getvalue())
    labels = plan.meta["labels"]
    write_text(
        folder / EXCLUDED,
        "".join(
            json.dumps({"part": part, "label": labels[part], "row": row, **name, "reason": reason}, ensure_ascii=False)
            + "\n"
            for (part, row, reason), name in zip(plan.excluded, _ids(plan, index), strict=True)
        ),
    )
    write_json(folder / META, {"digest": plan.digest, "meta": plan.meta})
    return folder / PLAN


def _ids(plan: RunPlan, index: MixtureIndex | None) -> list[dict[str, str]]:
    """``{"id": …}`` of each row left out."""
    if index is None:
        return [{} for _ in plan.excluded]
    names: dict[tuple[int, int], str] = {}
    for number, part in enumerate(index.parts):
        rows = [row for of, row, _ in plan.excluded if of == number]
        if rows:
            found = open_rows(part).column("id").take(pa.array(rows, pa.int64())).to_pylist()
            names |= {(number, row): name for row, name in zip(rows, found, strict=True)}
    return [{"id": names[part, row]} for part, row, _ in plan.excluded]


def load_plan(folder: Path) -> RunPlan:
    """Read a plan that :func:`save_plan` wrote.

    Raises:
        DataError: it is missing, of another release, or was changed since.
    """
    import pyarrow.parquet as pq

    saved = read_json(folder / META)
    if saved is None:
        raise DataError(f"{folder / META}: there is no plan; a run writes it when it starts")
    if saved["meta"].get("format") != FORMAT:
        raise DataError(
            f"{folder / META}: was written in format {saved['meta'].get('format')}; this release reads {FORMAT}"
        )
    try:
        table = pq.read_table(folder / PLAN)
        part, row, length = (table[name].to_numpy() for name in ("part", "row", "length"))
        lines = [json.loads(line) for line in (folder / EXCLUDED).read_text("utf-8").splitlines()]
        excluded = tuple((line["part"], line["row"], line["reason"]) for line in lines)
    except (OSError, pa.ArrowInvalid, KeyError, ValueError) as error:
        raise DataError(f"{folder / PLAN}: cannot be read: {error}") from None
    if plan_digest(part, row, length, excluded, saved["meta"]) != saved["digest"]:
        raise DataError(f"{folder / PLAN}: is not the plan that was saved; its digest differs from {META}")
    return RunPlan(part, row, length, excluded, saved["meta"], saved["digest"])
