"""Executors: run jobs in this process, in processes of this machine, or on a Ray cluster (see ``ray_executor``).

All of them call the same pure function, so that none changes a byte.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures import Executor as Pool
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, Literal, ParamSpec, Protocol, TypeVar

from instruct.build.job import ShardResult
from instruct.build.tell import Tell
from instruct.errors import DataError, UsageError

# Jobs handed out ahead of the workers. A job is a few lines of plain data, its records wait in a file, or in memory
# where there is one source and one process: planning may run far ahead, so that no worker ever waits for it.
_AHEAD = 64
# Threads that share the work of one process: while one of them hashes, writes and waits for the disk, another renders.
_THREADS = 2
# Dead workers that a build replaces. A job that kills its worker does so again.
_REPLACED = 2


class Runnable(Protocol):
    """A job."""

    @property
    def label(self) -> str:
        """Name of the job in messages."""

    @property
    def key(self) -> str:
        """Content address of its shard."""

    def loaded(self) -> Any:
        """The same job, holding what it would read from the work folder, for a machine that does not see it."""


_Job = TypeVar("_Job", bound=Runnable)
_Given = TypeVar("_Given")
_Asked = ParamSpec("_Asked")
Run = Callable[[_Job, Path], ShardResult]


class Executor(Protocol):
    """Runs jobs.

    Attributes:
        workers: processes of this machine that the build may keep busy.
    """

    workers: int

    def run(self, jobs: Iterable[tuple[_Job, Path]], run: Run[_Job], tell: Tell) -> Iterator[ShardResult]:
        """Run jobs and yield their results as they come, in any order, once their shards are in their files.

        Args:
            jobs: jobs and the files they write; taken one by one, so that planning goes on while workers run.
            run: the pure function of a job, importable by its name.
            tell: told of workers that died.

        Raises:
            DataError: workers died again and again (killed, or out of memory).
        """


def make_executor(kind: Literal["local", "ray"], workers: int = 1, address: str | None = None) -> Executor:
    """An executor by name.

    Args:
        kind: ``local`` or ``ray``.
        workers: processes of this machine.
        address: of a Ray cluster.

    Raises:
        UsageError: an address without Ray, or Ray is not installed.
    """
    if kind == "ray":
        from instruct.build.ray_executor import RayExecutor

        return RayExecutor(address, workers)
    if address is not None:
        raise UsageError("--address is that of a Ray cluster; add --executor ray")
    return LocalExecutor(workers)


class LocalExecutor:
    """Runs jobs on this machine.

    Args:
        workers: processes; 1 runs the jobs in this one.
    """

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    def run(self, jobs: Iterable[tuple[_Job, Path]], run: Run[_Job], tell: Tell) -> Iterator[ShardResult]:
        """See :meth:`Executor.run`."""
        waiting, died = iter(jobs), 0
        while lost := (yield from self._until_broken(waiting, run)):
            died += 1
            names = sorted({job.label for job, _ in lost})
            if died > _REPLACED:
                raise DataError(
                    f"{died} worker processes died, perhaps for want of memory, while these were running or next:"
                    f" {', '.join(names)}."
                    " What is finished is kept; run the same command again, with fewer --workers"
                )
            tell("died", running=names)
            waiting = chain(lost, waiting)

    def _until_broken(
        self, jobs: Iterator[tuple[_Job, Path]], run: Run[_Job]
    ) -> Generator[ShardResult, None, list[tuple[_Job, Path]]]:
        """Run jobs until there are no more, or a worker dies; the jobs that this left without a result."""
        running: dict[Future[ShardResult], tuple[_Job, Path]] = {}
        lost: list[tuple[_Job, Path]] = []
        with _pool(self.workers) as pool:
            try:
                # Workers start, which takes a second of imports, while this process reads and plans.
                with suppress(BrokenProcessPool):  # the first job will tell
                    for _ in range(self.workers if self.workers > 1 else 0):
                        _submit(pool, _start, run)
                for job in jobs:
                    try:
                        running[_submit(pool, run, *job)] = job
                    except BrokenProcessPool:
                        lost.append(job)
                    yield from _finished(running, lost, wait_for_one=len(running) >= _AHEAD)
                    if lost:
                        break
                while running:
                    if self.workers == 1:  # there is nothing more to plan, and this thread is free
                        _help(running, run)
                    yield from _finished(running, lost, wait_for_one=True)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return lost


def _pool(workers: int) -> Pool:
    if workers == 1:
        return ThreadPoolExecutor(_THREADS)
    # Spawned, not forked: Arrow's and DuckDB's threads do not survive a fork.
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _start(run: Run[Any]) -> None:
    """What a worker is asked first: nothing, but it has imported all that ``run`` needs then."""


def _submit(
    pool: Pool, function: Callable[_Asked, _Given], *asked: _Asked.args, **named: _Asked.kwargs
) -> Future[_Given]:
    """Hand a call to the pool, which may start a worker for it."""
    with _uninterrupted():
        return pool.submit(function, *asked, **named)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until a worker is on its way: amid its start it would complain of a parent that has gone.

    The worker inherits that SIGINT is blocked: Ctrl-C is for this process alone, which then ends its workers. Other
    threads of this process, such as those of libraries, may still take the signal, so that its handler has to wait too.
    """
    came: list[int] = []
    # No other thread may set handlers, or is interrupted; one that is none of Python's cannot be put back.
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not None
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number)) if ours else None
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if ours:
            signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


def _end_with_parent() -> None:
    """Let a worker end when the build is killed: it would wait for jobs for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def wait() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=wait, daemon=True).start()


def _help(running: dict[Future[ShardResult], tuple[_Job, Path]], run: Run[_Job]) -> None:
    """Run a job in this thread that no other thread has begun, if there is one."""
    waiting = next((future for future in running if future.cancel()), None)
    if waiting is None:
        return
    job, done = running.pop(waiting), Future[ShardResult]()
    try:
        done.set_result(run(*job))
    except Exception as error:  # to be raised like that of any other job
        done.set_exception(error)
    running[done] = job


def _finished(
    running: dict[Future[ShardResult], tuple[_Job, Path]], lost: list[tuple[_Job, Path]], wait_for_one: bool
) -> Iterator[ShardResult]:
    """Results of jobs that are done; those whose worker died go to ``lost``."""
    done, _ = wait(running, timeout=None if wait_for_one else 0, return_when=FIRST_COMPLETED)
    # Those that failed come last: what the others made is kept before the first of them ends the build.
    for future in sorted(done, key=lambda future: future.exception() is not None):
        job = running.pop(future)
        try:
            yield future.result()
        except BrokenProcessPool:
            lost.append(job)
