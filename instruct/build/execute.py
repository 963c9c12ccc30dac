"""Executors: run jobs here, or in processes of this machine. Both call the same pure function."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Protocol, TypeVar

from instruct.build.job import ShardResult
from instruct.errors import DataError

# Jobs handed out ahead of the workers. A job is a few lines of plain data, its records wait in a file: planning may run
# far ahead, so that no worker ever waits for it.
_AHEAD = 64
# Threads that share the work of one process: while one of them hashes, writes and waits for the disk, another renders.
_THREADS = 2


class Labelled(Protocol):
    """A job that messages can name."""

    @property
    def label(self) -> str:
        """Name of the job in messages."""


_Job = TypeVar("_Job", bound=Labelled)
Run = Callable[[_Job, Path], ShardResult]


def execute(jobs: Iterable[tuple[_Job, Path]], workers: int, run: Run[_Job]) -> Iterator[ShardResult]:
    """Run jobs and yield their results as they come, in any order.

    Args:
        jobs: jobs and the files they write; taken one by one, so that planning goes on while workers run.
        workers: processes; 1 runs the jobs in this one.
        run: the pure function of a job, importable by its name.

    Raises:
        DataError: a worker died (killed, or out of memory).
    """
    with _pool(workers) as pool:
        running: dict[Future[ShardResult], _Job] = {}
        try:
            for job, staged in jobs:
                running[_submit(pool, run, job, staged)] = job
                yield from _finished(running, wait_for_one=len(running) >= _AHEAD)
            while running:
                yield from _finished(running, wait_for_one=True)
        except BrokenProcessPool:
            names = ", ".join(sorted({job.label for job in running.values()}))
            raise DataError(
                f"a worker process died, perhaps for want of memory, while these were running: {names}."
                " What is finished is kept; run the same command again, with fewer --workers"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _pool(workers: int) -> Executor:
    if workers == 1:
        return ThreadPoolExecutor(_THREADS)
    # Spawned, not forked: Arrow's and DuckDB's threads do not survive a fork.
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _submit(pool: Executor, run: Run[_Job], job: _Job, staged: Path) -> Future[ShardResult]:
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


def _finished(running: dict[Future[ShardResult], _Job], wait_for_one: bool) -> list[ShardResult]:
    done, _ = wait(running, timeout=None if wait_for_one else 0, return_when=FIRST_COMPLETED)
    results = [future.result() for future in done]
    for future in done:
        del running[future]
    return results
