"""The pure function of a job: what makes one shard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instruct.build.files import writing
from instruct.build.job import Job, ShardResult, open_records
from instruct.build.schema import shard_schema
from instruct.build.shard_rows import rows_of
from instruct.prompts.render import Fault, Rendered, choose_variants, render_records
from instruct.prompts.template import CompiledTemplate, compile_template
from instruct.specs.contract import VARIANT_HASH

# Records rendered together, and rows of a record batch in the shard: enough to forget the cost of a call, few enough
# to need little memory.
_BATCH_ROWS = 5000
_WRITE_BYTES = 1 << 18
# The same where images are embedded: a batch then holds their bytes.
_EMBED_ROWS = 100


def run(job: Job, staged: Path) -> ShardResult:
    """Render a job's records and write its shard.

    Args:
        job: the job.
        staged: file to write; it appears whole or not at all.

    Raises:
        SpecError: the template places other images than the records have.
        OSError: the shard cannot be written.
    """
    template = compile_template(job.template, job.dialect)
    examples, bad = 0, []
    with open_records(job.records, job.batch) as records, writing(staged) as shard:
        with (
            pa.BufferedOutputStream(pa.PythonFile(shard, "w"), _WRITE_BYTES) as sink,  # many pieces are eight bytes
            pa.ipc.new_stream(sink, shard_schema()) as writer,
        ):
            rows = _EMBED_ROWS if job.store == "embed" else _BATCH_ROWS
            for start in range(0, len(records), rows):
                piece = records.slice(start, rows)
                rendered = _render(job, template, piece)
                batch = rows_of(job, rendered, piece)
                examples += len(batch)
                bad += [_bad(piece, fault) for fault in rendered.faults]
                writer.write_batch(batch)
        count = len(records)
    return ShardResult(
        key=job.key,
        facts=job.facts,
        records=count - len(bad),
        examples=examples,
        bytes=shard.size,
        sha256=shard.sha256,
        bad=bad,
    )


def _bad(records: pa.RecordBatch, fault: Fault) -> dict[str, str]:
    return {
        "id": records.column("id")[fault.row].as_py(),
        "reason": str(fault.reason),
        "detail": fault.detail,
        "origin": records.column("origin")[fault.row].as_py(),
    }


def _render(job: Job, template: CompiledTemplate, records: pa.RecordBatch) -> Rendered:
    if "images" in records.schema.names:
        counts = np.asarray(pc.list_value_length(records.column("images")), np.int64)
    else:
        counts = np.zeros(len(records), np.int64)
    hashes = np.asarray(records.column(VARIANT_HASH))
    return render_records(template, records, counts, choose_variants(hashes, template.weights, job.variants))
