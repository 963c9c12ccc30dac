"""Executors: run jobs here, or in processes of this machine. Both call the same pure function."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from instruct.build.job import Job, ShardResult, run
from instruct.errors import DataError

# Jobs handed out ahead of the workers: enough to keep them busy, few enough to keep memory flat.
_AHEAD = 2


def execute(jobs: Iterable[tuple[Job, Path]], workers: int) -> Iterator[ShardResult]:
    """Run jobs and yield their results as they come, in any order.

    Args:
        jobs: jobs and the files they write; taken one by one, so that planning goes on while workers run.
        workers: processes; 1 runs the jobs in this one.

    Raises:
        DataError: a worker died (killed, or out of memory).
    """
    if workers == 1:
        for job, staged in jobs:
            yield run(job, staged)
        return
    # Spawned, not forked: Arrow's and DuckDB's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
        running: dict[Future[ShardResult], Job] = {}
        try:
            for job, staged in jobs:
                running[_submit(pool, job, staged)] = job
                if len(running) >= workers * (1 + _AHEAD):
                    yield from _finished(running)
            while running:
                yield from _finished(running)
        except BrokenProcessPool:
            names = ", ".join(sorted({f"{job.config} {job.split} batch {job.batch}" for job in running.values()}))
            raise DataError(
                f"a worker process died, perhaps for want of memory, while these were running: {names}."
                " What is finished is kept; run the same command again, with fewer --workers"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _submit(pool: ProcessPoolExecutor, job: Job, staged: Path) -> Future[ShardResult]:
    """Hand a job to the pool, which may start a worker for it.

    The worker inherits that SIGINT is blocked: Ctrl-C is for this process alone, which then ends its workers.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(run, job, staged)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """Let a worker end when the build is killed: it would wait for jobs for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def wait() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=wait, daemon=True).start()


def _finished(running: dict[Future[ShardResult], Job]) -> list[ShardResult]:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    results = [future.result() for future in done]
    for future in done:
        del running[future]
    return results
